"""What the command-line entries share: logging, JSON arguments, and how errors end a job."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gradbrain.config.errors import GradbrainError

Settings = TypeVar("Settings", bound=BaseModel)


def json_argument(model_class: type[Settings]) -> Callable[[str], Settings]:
    """Make an argparse ``type`` that reads JSON into a settings class."""

    def parse(text: str) -> Settings:
        try:
            return model_class.model_validate_json(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def run(main: Callable[[list[str] | None], None], argv: list[str] | None = None) -> None:
    """Run a script: log to stderr, and end with one clear line where the input is bad."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        main(argv)
    except GradbrainError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
