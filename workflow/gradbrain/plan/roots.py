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
    target = Path(root).expanduser().resolve()
    if not target.is_dir():
        raise GradbrainError(f"{where}: roots.{name}: there is no folder {root}")
    link = data / name
    if link.exists() and link.resolve() == target:
        return None
    if link.exists() and not link.is_symlink():
        raise GradbrainError(
            f"{where}: roots.{name}: {link} is a folder of its own, so it cannot point to "
            f"{root}. Move it away, or leave out roots.{name}"
        )
    data.mkdir(parents=True, exist_ok=True)
    temporary = data / f".{name}.link-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target, target_is_directory=True)
    temporary.replace(link)
    return link
