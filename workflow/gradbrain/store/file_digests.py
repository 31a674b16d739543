"""SHA-256 of results that are single files, kept beside them and compared by readers.

A store carries digests of its files in its mark; a table, a page or a figure has none of its own.
The hidden file ``.<name>.sha256`` beside it is in the format of ``sha256sum``, which can check it:
``sha256sum --check .claims.csv.sha256``. A result without such a file is read as it is: those of
earlier versions have none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from gradbrain.store.errors import DamageError


def digest_path(path: Path) -> Path:
    """File that holds the SHA-256 of a result."""
    return path.with_name(f".{path.name}.sha256")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget_digest(path: Path) -> None:
    """Remove what is known of a result that is to be replaced."""
    digest_path(path).unlink(missing_ok=True)


def record_digest(path: Path, digest: str) -> None:
    """Write the SHA-256 of a result beside it."""
    digest_path(path).write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def recorded_digest(path: Path) -> str | None:
    """SHA-256 that a result was written with; None where nothing was recorded."""
    try:
        text = digest_path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return text.partition(" ")[0]


def read_checked(path: Path) -> bytes:
    """Read a result whole, and compare it with its SHA-256 where that is recorded.

    Raises
    ------
    StoreError
        It is missing, cannot be read, or is not what was written.
    """
    try:
        content = path.read_bytes()
        recorded = recorded_digest(path)
    except OSError as error:
        raise DamageError(path, f"cannot be read ({error.strerror})") from (error)
    if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
        raise DamageError(
            path, f"was changed or damaged: it is not what {digest_path(path).name} says"
        )
    return content
