"""What Snakemake takes from its command line without a word, though nobody can have meant it."""

from __future__ import annotations

from collections.abc import Sequence

from gradbrain.config import GradbrainError


def check_config_option(arguments: Sequence[str]) -> None:
    """Refuse a second ``--config``: it would replace the first, not add to it.

    Parameters
    ----------
    arguments
        Command line of the main process; the command lines of its jobs are Snakemake's own.

    Raises
    ------
    GradbrainError
        ``--config`` or ``-C`` is given more than once.
    """
    given = [text for text in arguments if text in ("--config", "-C") or _has_value(text)]
    if len(given) > 1:
        raise GradbrainError(
            f"--config is given {len(given)} times, of which only the last would count; give "
            "several keys behind one --config: --config only_models=[a] only_subjects=[b]"
        )


def _has_value(text: str) -> bool:
    return text.startswith("--config=") or (text.startswith("-C") and "=" in text)
