"""What the command-line entries share: logging, JSON arguments, and how errors end a job."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gradbrain import __version__
from gradbrain.config.errors import GradbrainError
from gradbrain.config.memory import collect_as_usual, collect_rarely, keep_freed_memory
from gradbrain.config.memory_limit import out_of_memory

# What a shell reports of a process that Ctrl-C ended: 128 and the number of SIGINT.
INTERRUPTED = 130

# How torch says that memory ran out, on a GPU and on a CPU.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

# A script imports this module first, and what takes long to import after it.
collect_rarely()

Settings = TypeVar("Settings", bound=BaseModel)


def json_argument(model_class: type[Settings]) -> Callable[[str], Settings]:
    """Make an argparse ``type`` that reads JSON into a settings class."""

    def parse(text: str) -> Settings:
        try:
            return model_class.model_validate_json(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def learnt(text: str) -> None:
    """Say in one line what the job found: what a run prints of it once it is done.

    Parameters
    ----------
    text
        ``320 images, 18 groups``.
    """
    logging.getLogger("gradbrain").info("learnt: %s", text)


def run(
    main: Callable[[list[str] | None], None],
    argv: list[str] | None = None,
    *,
    memory: str = "",
) -> None:
    """Run a script: log to stderr, and end with one clear line where the input is bad.

    Every script takes ``--version``.

    Parameters
    ----------
    main
        The script.
    argv
        Its arguments; those of the command line where left out.
    memory
        Settings of the study by which it takes less memory, for the line that says it ran out.
    """
    collect_as_usual()
    keep_freed_memory()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    if (sys.argv[1:] if argv is None else argv) == ["--version"]:
        # Here and not in each script, whose text decides what is made anew.
        print(f"gradbrain {__version__}")
        return
    try:
        main(argv)
    except GradbrainError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        # torch and CUDA have kinds of their own, and a RuntimeError on the CPU.
        if not is_memory_error(error):
            raise
        print(f"error: {out_of_memory(error, more_memory(memory))}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def is_memory_error(error: BaseException) -> bool:
    """Tell an exhausted memory, of a GPU or the host, from other errors."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or any(words in told for words in OUT_OF_MEMORY)


def more_memory(settings: str = "") -> str:
    """Say how a job gets more memory, and by which settings it takes less."""
    rule = Path(sys.argv[0]).stem
    less = f", or {settings}" if settings else ""
    return (
        f"give it more (snakemake --set-resources {rule}:mem_mb=MB; on one machine fewer jobs at "
        f"once: --resources mem_mb=MB){less}"
    )
