"""How a command-line entry ends."""

import pytest

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run


def ends_with(error):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main, [])
    return ended.value.code


def test_bad_input_and_an_interruption_end_in_one_line_without_a_traceback(capsys):
    assert ends_with(GradbrainError("no such thing")) == 1
    assert capsys.readouterr().err == "error: no such thing\n"
    assert ends_with(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"
