"""The images that a study takes: named ones, or those that all its people saw."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradbrain.datasets.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

#: Endings of tables, which have a column image_id; any other file has an image on each line.
TABLES = {".csv": ",", ".tsv": "\t"}


def read_image_list(path: Path) -> tuple[str, ...]:
    """Read the images of a list: one on each line, or the column ``image_id`` of a table.

    Empty lines, and lines that begin with ``#``, are skipped in a list.

    Raises
    ------
    DatasetError
        The file is missing, unreadable or empty, or names an image twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: the list of images cannot be read ({error})") from None
    delimiter = TABLES.get(path.suffix.lower())
    if delimiter is None:
        lines = (line.strip() for line in text.splitlines())
        names = [line for line in lines if line and not line.startswith("#")]
    else:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        if "image_id" not in (reader.fieldnames or ()):
            raise DatasetError(
                f"{path}: lacks the column image_id; it has "
                f"{', '.join(reader.fieldnames or ()) or 'none'}"
            )
        names = [str(row["image_id"] or "").strip() for row in reader]
        names = [name for name in names if name]
    check_image_list(names, where=str(path))
    return tuple(names)


def check_image_list(names: Sequence[str], *, where: str) -> None:
    """Refuse a list without images, or with one twice.

    Raises
    ------
    DatasetError
        Names the list and the image.
    """
    if not names:
        raise DatasetError(f"{where}: names no image")
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise DatasetError(f"{where}: {twice[0]!r} is there more than once; name each image once")


def named_images(
    tables: Mapping[str, pd.DataFrame], keep: str, names: Sequence[str], *, where: str
) -> pd.DataFrame:
    """Keep the named images of one stimulus set.

    Parameters
    ----------
    tables
        Stimulus set -> its table, of all sets of the study: an image need be in one of them.
    keep
        The stimulus set.
    names
        Images.
    where
        Where they are named, for errors.

    Returns
    -------
    DataFrame
        Rows of its table, in their order.

    Raises
    ------
    DatasetError
        A name is in none of the sets, or none is in this one.
    """
    known: set[str] = set().union(*(table["image_id"] for table in tables.values()))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DatasetError(
            f"{where}: {len(unknown)} of {len(names)} image(s) are in no stimulus set of the study "
            f"({', '.join(tables)}), e.g. {unknown[0]!r}; images are called such as "
            f"{min(known)!r}"
        )
    table = tables[keep]
    kept = table[table["image_id"].isin(set(names))].reset_index(drop=True)
    if kept.empty:
        raise DatasetError(
            f"{where}: none of the {len(names)} images is in the stimulus set {keep!r}; name some "
            "of its images, or leave the data set out of the study"
        )
    return kept


def shared_images(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Keep the images that are in all stimulus sets, matched by their ids.

    Groups are joined: two images that one of the sets keeps together stay together.

    Parameters
    ----------
    tables
        Stimulus set -> its table.

    Returns
    -------
    DataFrame
        Rows of the first table, in their order.

    Raises
    ------
    DatasetError
        The sets share no image, or an image of the same id has other pixels in another set.
    """
    (first, table), *others = tables.items()
    kept = table
    for name, other in others:
        kept = kept[kept["image_id"].isin(set(other["image_id"]))]
        if kept.empty:
            raise DatasetError(
                f"images: shared: {first!r} and {name!r} have no image of the same id in common; "
                f"theirs are called such as {table['image_id'].iloc[0]!r} and "
                f"{other['image_id'].iloc[0]!r}"
            )
    kept = kept.reset_index(drop=True)
    groups = []
    for name, other in tables.items():
        same = other.set_index("image_id").loc[kept["image_id"]]
        differs = same["content_sha256"].to_numpy() != kept["content_sha256"].to_numpy()
        if differs.any():
            raise DatasetError(
                f"images: shared: {int(differs.sum())} image(s) of {first!r} and {name!r} have the "
                f"same id and other pixels, e.g. {kept['image_id'][differs].iloc[0]!r}; both must "
                "be read from the same files"
            )
        groups.append(list(same["group"]))
    return kept.assign(group=_joined(groups))


def _joined(groups: Sequence[Sequence[str]]) -> list[str]:
    """Join the groups of several groupings of the same images; named as the first has them."""
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for row in zip(*groups, strict=True):
        first = root((0, row[0]))
        for place, group in enumerate(row[1:], start=1):
            other = root((place, group))
            if other != first:
                # The smaller, that of the first grouping, names the whole.
                first, other = min(first, other), max(first, other)
                parent[other] = first
    return [root((0, group))[1] for group in groups[0]]
