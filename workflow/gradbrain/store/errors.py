"""Errors of the store: what is wrong with a result, and the command that makes it again."""

from __future__ import annotations

import errno
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.store.identity import artefact_at

#: The study that is run where no --configfile is given.
DEFAULT_CONFIG = "config/config.yaml"
# The first level of a config alone: a key of the same name deeper in it is another.
_STUDY = re.compile(r"^study:\s*[\"']?([^\"'\s#]+)", re.MULTILINE)
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of disk space is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "writing there is not allowed",
    errno.EIO: "the disk reports an input/output error",
}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class StoreError(GradbrainError):
    """A result cannot be trusted, or not be written: says which, why, and what to do."""


class DamageError(StoreError):
    """A result is not what was written, or not what belongs there, and is to be made again.

    Attributes
    ----------
    path
        The result.
    what
        What is wrong with it, without its name and without a full stop.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}. {rebuild_hint(path)}")
        self.path, self.what = path, what

    def __reduce__(self) -> tuple[type[DamageError], tuple[Path, str]]:
        return type(self), (self.path, self.what)


def config_of(study: str, folder: Path = Path()) -> str | None:
    """Find the config file of a study among those in ``config/``; None where none names it."""
    for file in sorted((folder / "config").glob("*.yaml")):
        found = _STUDY.search(file.read_text(encoding="utf-8", errors="replace"))
        if found and found[1] == study:
            return file.relative_to(folder).as_posix()
    return None


def snakemake_command(study: str | None, *targets: str, config: str | None = None) -> str:
    """Write the command that makes results of a study.

    Parameters
    ----------
    study
        Name of the study; None for results that studies share.
    *targets
        Paths of the results.
    config
        Config file of the study, where it is known; else it is looked for in ``config/``.
    """
    config = config or (config_of(study) if study is not None else None) or "STUDY.yaml"
    option = "" if config == DEFAULT_CONFIG else f" --configfile {shlex.quote(config)}"
    return f"snakemake --cores all{option} -- {' '.join(map(shlex.quote, targets))}"


def rebuild_command(path: Path, *, config: str | None = None) -> str | None:
    """Write the command that makes one result again; None where no rule makes such a file.

    Parameters
    ----------
    path
        The result.
    config
        Config file of its study, where it is known.
    """
    found = artefact_at(path)
    if found is None:
        return None
    make = snakemake_command(found.keys.get("study"), found.target, config=config)
    return f"rm -r {shlex.quote(str(path))} && {make}" if path.exists() else make


class NoSuchStoreError(StoreError, KeyError):
    """No store has a key."""

    # That of KeyError would quote the sentence.
    __str__ = Exception.__str__


def rebuild_hint(path: Path) -> str:
    """Sentence that tells how to make a result again."""
    command = rebuild_command(path)
    if command is None:
        remove = f"rm -r {path}, then " if path.exists() else ""
        return f"To make it again: {remove}the same snakemake command as before"
    if "STUDY.yaml" in command:
        command += " (STUDY.yaml: the config file of your study)"
    return f"To make it again: {command}"


def cannot_be_written(path: Path, error: OSError) -> StoreError:
    """Say in one line why a result could not be written, and what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or " ".join(str(error).split()))
    folder = next(place for place in (path.parent, *path.parents) if place.is_dir())
    if error.errno in _FULL:
        free = shutil.disk_usage(folder).free // 2**20
        reason += f" ({free} MiB are free in {folder}); free some space"
    else:
        reason += f" ({error.filename or folder}); make {folder} writable"
    return StoreError(f"{path}: cannot be written: {reason}. {rebuild_hint(path)}")


def _refusal_behind(error: BaseException) -> OSError | None:
    """What the operating system refused, where a library fails with another error because of it."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in _REASONS:
            return behind
        behind = behind.__cause__ or behind.__context__
    return None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses in the block into one clear line.

    A library that closes its file after a refusal may fail again, with an error of its own.

    Raises
    ------
    StoreError
        A full disk, a folder that is read-only, and their like.
    """
    try:
        yield
    except OSError as error:
        raise cannot_be_written(path, error) from error
    except GradbrainError:
        raise
    except Exception as error:
        refusal = _refusal_behind(error)
        if refusal is None:
            raise
        raise cannot_be_written(path, refusal) from error
