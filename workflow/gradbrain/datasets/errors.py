"""Errors of the data sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradbrain.config import GradbrainError


class DatasetError(GradbrainError):
    """A data set cannot be used as it is: names the file or option and what was expected.

    Told in one line, whatever a reader of the format says in several.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class ImageError(DatasetError):
    """A stimulus cannot be read: names the file and what is wrong with it."""


@contextmanager
def reading(path: Path, what: str = "", *, remedy: str = "get the file again") -> Iterator[None]:
    """Name the file where a reader of its format meets something odd in the block.

    Readers of others trust what a file says of itself, and raise a dozen kinds of errors where it
    was damaged.

    Parameters
    ----------
    path
        The file.
    what
        What it should hold, e.g. ``"as epochs"``.
    remedy
        What to do.

    Raises
    ------
    DatasetError
        Names the file, and what its reader said.
    """
    try:
        yield
    except GradbrainError:
        raise
    except MemoryError as error:
        n_bytes = path.stat().st_size if path.is_file() else 0
        size = f" of {n_bytes / 2**20:.1f} MiB" if n_bytes else ""
        raise DatasetError(
            f"{path}: asks for more memory than this job may take; if a file{size} cannot need "
            f"that, it is damaged: {remedy}"
        ) from error
    except Exception as error:
        told = str(error) or type(error).__name__
        how = f" {what}" if what else ""
        raise DatasetError(f"{path}: cannot be read{how} ({told}); {remedy}") from error
