"""Commands of Snakemake that docs, configs and scripts print: it reads them as they are meant."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gradbrain.config import GradbrainError
from gradbrain.plan.command_line import check_before_reading

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "config", "benchmarks", "scripts", "profiles", "workflow", "results")
KINDS = (".md", ".yaml", ".py", ".smk")
# Up to the end of the line or of the code span; a line that ends in a backslash goes on.
COMMAND = re.compile(r"\bsnakemake(?: +(?:[^`\\\n]|\\\n)*--config(?:[^`\\\n]|\\\n)*)")
# Of a code span, which Markdown may break into lines.
SPAN = re.compile(r"`(snakemake [^`]*?--config[^`]*)`")
# Studies of readers, in the place of a name of theirs.
INVENTED = ("mine.yaml", "STUDY.yaml", "my_study/study.yaml", "my_eeg/study.yaml")


def files():
    yield ROOT / "README.md"
    yield ROOT / "CONTRIBUTING.md"
    for folder in FOLDERS:
        found = sorted((ROOT / folder).glob("**/*"))
        yield from (path for path in found if path.suffix in KINDS and path.is_file())


def commands():
    for path in files():
        # Comments of YAML and Python go on in their next line.
        text = re.sub(r"\\\n\s*#?", "\\\n", path.read_text(encoding="utf-8"))
        where = path.relative_to(ROOT).as_posix()
        for found in COMMAND.finditer(text):
            yield where, found[0].replace("\\\n", " ")
        for found in SPAN.finditer(text):
            if "\n" in found[1]:
                yield where, " ".join(found[1].split())


def test_there_are_commands_to_look_at():
    where = [name for name, _ in commands()]
    assert len(where) > 40
    assert {"README.md", "docs/calibration.md", "benchmarks/calibrate_rules.py"} <= set(where)


@pytest.mark.parametrize(("where", "command"), commands())
def test_no_option_swallows_a_target_and_config_files_are_there(where, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(command, comments=True)
    try:
        check_before_reading(arguments)
    except GradbrainError as error:
        assert f"{error}".endswith("there is no such file."), f"{where}: {error}"
        assert any(name in command for name in INVENTED), f"{where}: {command}: {error}"
