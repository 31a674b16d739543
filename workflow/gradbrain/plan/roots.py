"""Where data lie on this machine: data/<name> is a link, so that no path enters a result."""

from __future__ import annotations

import os
from pathlib import Path

from gradbrain.config import GradbrainError


def link_root(name: str, root: str, data: Path, where: str) -> Path | None:
    """Make ``data/<name>`` point to a configured root folder.

    Returns
    -------
    Path or None
        The link, where it was made or changed; None where it was there already.

    Raises
    ------
    GradbrainError
        The root is not a folder, or ``data/<name>`` is a folder of its own.
    """
    try:
        target = _folder(root)
    except (OSError, ValueError, RuntimeError) as error:  # no permission, NUL, ~nobody, loops
        raise GradbrainError(
            f"{where}: roots.{name}: {root!r} cannot be used: {_reason(error)}"
        ) from None
    if target is None:
        raise GradbrainError(f"{where}: roots.{name}: there is no folder {root}")
    try:
        return _link(target, name, root, data, where)
    except OSError as error:
        raise GradbrainError(
            f"{where}: roots.{name}: the link {data / name} cannot be made ({_reason(error)})"
        ) from None


def _folder(root: str) -> Path | None:
    """Resolve a configured root; None where there is no such folder.

    Raises
    ------
    OSError, ValueError, RuntimeError
        It is empty, cannot be looked into, or no name of a folder at all.
    """
    if not root.strip():
        # Path("") is the folder in which the command runs.
        raise ValueError("it is empty, expected the path of a folder")
    target = Path(root).expanduser().resolve()
    if not target.is_dir():
        return None
    # What cannot be listed would be said by every reader in its own way.
    next(target.iterdir(), None)
    return target


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _link(target: Path, name: str, root: str, data: Path, where: str) -> Path | None:
    link = data / name
    if link.exists() and link.resolve() == target:
        return None
    if link.exists() and not link.is_symlink():
        raise GradbrainError(
            f"{where}: roots.{name}: {link} is a folder of its own, so it cannot point to "
            f"{root}. Move it away, or leave out roots.{name}"
        )
    data.mkdir(parents=True, exist_ok=True)
    if target == data.resolve() or target == link.absolute():
        raise GradbrainError(
            f"{where}: roots.{name}: {root} is the folder that the link would lie in; name the "
            "folder of the data set"
        )
    temporary = data / f".{name}.link-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target, target_is_directory=True)
    temporary.replace(link)
    return link
