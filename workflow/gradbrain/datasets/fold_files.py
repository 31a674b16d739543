"""Outer folds of one's own: read from a file, or from splits that come with a data set.

A fold has a name, a number or any text. Two words have a meaning of their own: images of the fold
``train`` are trained on in every fold and never held out, images of ``unused`` have no part in the
study. A file is one of

``.csv``, ``.tsv``
    a table with the columns ``image_id`` and ``fold``;
``.json``
    ``{"image": "fold", …}``, a list of lists of images (one for each fold), or splits,
    ``{"variants": [{"train_ids": […], "test_ids": […]}, …]}``, of which each is a fold.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.file_names import natural_key

if TYPE_CHECKING:
    import pandas as pd

#: Names of folds that are none.
TRAIN, UNUSED = "train", "unused"
#: Endings of what is a file of folds, and not the name of a split.
ENDINGS = (".csv", ".tsv", ".json")
#: With two images held out every correlation is 1 or -1.
FEWEST_HELD_OUT = 3
#: In a table of folds: trained on, never held out.
TRAIN_ONLY = -1


def is_fold_file(value: str) -> bool:
    """Whether what a study says of folds is a file, by its ending."""
    return value.lower().endswith(ENDINGS)


def read_fold_file(path: Path) -> dict[str, str]:
    """Read which fold each image belongs to.

    Returns
    -------
    dict
        Image -> name of its fold, in the order of the file.

    Raises
    ------
    DatasetError
        The file is missing, unreadable or of another layout, names an image twice, or has a fold
        without images.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: the file of folds cannot be read ({error})") from None
    pairs = _of_json(path, text) if path.suffix.lower() == ".json" else _of_table(path, text)
    if not pairs:
        raise DatasetError(f"{path}: names no image; give every image of the data set a fold")
    return unique(pairs, where=str(path))


def unique(pairs: Iterable[tuple[str, str]], *, where: str) -> dict[str, str]:
    """Make a mapping of pairs of image and fold.

    Raises
    ------
    DatasetError
        An image is there twice.
    """
    pairs = list(pairs)
    count = Counter(image for image, _ in pairs)
    twice = [image for image, number in count.items() if number > 1]
    if twice:
        raise DatasetError(
            f"{where}: {len(twice)} image(s) are there more than once, e.g. {twice[0]!r}; each "
            "image belongs to one fold"
        )
    return dict(pairs)


def folds_of_splits(splits: Sequence[Mapping[str, Any]], *, where: str) -> list[tuple[str, str]]:
    """Take splits into training and test images for folds.

    Parameters
    ----------
    splits
        Each with ``train_ids`` and ``test_ids``.
    where
        File, for errors.

    Returns
    -------
    list of (str, str)
        Image and fold; an image that no split holds out is trained on alone.

    Raises
    ------
    DatasetError
        A list is missing or empty, a split trains on what it holds out, or does not train on an
        image that it does not hold out: folds train on all others.
    """
    tests = []
    for number, split in enumerate(splits):
        lists = [split.get(key) if isinstance(split, Mapping) else None for key in SPLIT_KEYS]
        if not all(isinstance(names, list) and names for names in lists):
            raise DatasetError(
                f"{where}: split {number} must hold the lists train_ids and test_ids, both with "
                "images"
            )
        train, test = [[str(name) for name in names] for names in lists]  # type: ignore[union-attr]
        both = set(train) & set(test)
        if both:
            raise DatasetError(
                f"{where}: split {number} trains on {len(both)} image(s) that it holds out, e.g. "
                f"{min(both)!r}"
            )
        tests.append((set(train), test))
    known = set().union(*(train | set(test) for train, test in tests)) if tests else set()
    for number, (trained, test) in enumerate(tests):
        lost = known - trained - set(test)
        if lost:
            raise DatasetError(
                f"{where}: split {number} neither trains on nor holds out {len(lost)} image(s) of "
                f"the other splits, e.g. {min(lost)!r}; as folds they would be trained on. Give "
                "splits of the same images"
            )
    held_out = [(image, str(number)) for number, (_, test) in enumerate(tests) for image in test]
    rest = known - {image for image, _ in held_out}
    return [*held_out, *((image, TRAIN) for image in sorted(rest, key=natural_key))]


SPLIT_KEYS = ("train_ids", "test_ids")


def _of_json(path: Path, text: str) -> list[tuple[str, str]]:
    def pairs_of(found: list[tuple[str, Any]]) -> Any:
        # A JSON mapping may name a key twice, of which a dictionary keeps the last.
        keys = Counter(key for key, _ in found)
        unique(((key, "") for key, number in keys.items() for _ in range(number)), where=str(path))
        return dict(found)

    try:
        content = json.loads(text, object_pairs_hook=pairs_of)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path}: is no JSON ({error})") from None
    if isinstance(content, dict) and isinstance(content.get("variants"), list):
        return folds_of_splits(content["variants"], where=str(path))
    if isinstance(content, dict) and isinstance(content.get("folds"), list):
        content = content["folds"]
    if isinstance(content, list) and all(isinstance(fold, list) for fold in content):
        empty = [number for number, fold in enumerate(content) if not fold]
        if empty:
            raise DatasetError(f"{path}: fold {empty[0]} has no images; leave it out")
        return [(str(image), str(number)) for number, fold in enumerate(content) for image in fold]
    if isinstance(content, dict):
        odd = {
            image: fold
            for image, fold in content.items()
            if isinstance(fold, bool) or not isinstance(fold, str | int) or str(fold).strip() == ""
        }
        if not odd:
            return [(image, str(fold).strip()) for image, fold in content.items()]
        image, fold = next(iter(odd.items()))
        raise DatasetError(
            f"{path}: the fold of {image!r} is {json.dumps(fold)[:80]}, expected a number or a name"
        )
    raise DatasetError(
        f"{path}: expected {{image: fold}}, a list of lists of images, or splits "
        '({"variants": [{"train_ids": […], "test_ids": […]}]})'
    )


def _of_table(path: Path, text: str) -> list[tuple[str, str]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = reader.fieldnames or ()
    missing = [name for name in ("image_id", "fold") if name not in columns]
    if missing:
        has = ", ".join(columns) or "none"
        raise DatasetError(f"{path}: lacks the column(s) {', '.join(missing)}; it has {has}")
    pairs = []
    for row in reader:
        image, fold = (str(row[name] or "").strip() for name in ("image_id", "fold"))
        if not image or not fold:
            raise DatasetError(f"{path}, line {reader.line_num}: an image or its fold is empty")
        pairs.append((image, fold))
    return pairs


def fold_table(
    folds: Mapping[str, str], stimuli: pd.DataFrame, *, where: str, of_the_data_set: bool
) -> pd.DataFrame:
    """Say of every image of a stimulus set which outer fold holds it out.

    Parameters
    ----------
    folds
        Image -> name of its fold.
    stimuli
        Table of the stimulus set.
    where
        Where the folds come from, for errors.
    of_the_data_set
        Whether they come with the data set: these name images of all people, and none of those
        that the split has no use for.

    Returns
    -------
    DataFrame
        Columns of the kind ``folds``: ``image_id``, ``fold`` (from 0; -1: trained on alone) and
        ``name``, in the order of the stimuli; images without use have no row.

    Raises
    ------
    DatasetError
        An image has no fold or is unknown, a fold splits a group or holds out fewer than three
        images, or nothing is left to train on.
    """
    import pandas as pd

    known = set(stimuli["image_id"])
    if not of_the_data_set:
        _check_same_images(folds, known, where)
    names = [folds.get(image, UNUSED) for image in stimuli["image_id"]]
    used = [name != UNUSED for name in names]
    held_out = Counter(name for name in names if name not in (TRAIN, UNUSED))
    if not held_out:
        raise DatasetError(f"{where}: no image of the stimulus set is held out in any fold")
    absent = {name for name in folds.values() if name not in (TRAIN, UNUSED)} - set(held_out)
    if absent:
        raise DatasetError(
            f"{where}: fold {min(absent)!r} holds out no image that is part of the study; leave it "
            "out, or take more images"
        )
    small = {name: number for name, number in held_out.items() if number < FEWEST_HELD_OUT}
    if small:
        name, number = next(iter(small.items()))
        raise DatasetError(
            f"{where}: fold {name!r} holds out {number} image(s), expected {FEWEST_HELD_OUT} or "
            "more: correlations over fewer say nothing"
        )
    n_used = sum(used)
    if n_used - max(held_out.values()) < FEWEST_HELD_OUT:
        raise DatasetError(
            f"{where}: {n_used - max(held_out.values())} image(s) are left to train on where the "
            f"largest fold is held out, expected {FEWEST_HELD_OUT} or more; give more folds, or "
            f"images of the fold {TRAIN!r}"
        )
    _check_groups(names, stimuli, where)
    number_of = {name: place for place, name in enumerate(sorted(held_out, key=natural_key))}
    table = pd.DataFrame(
        {
            "image_id": stimuli["image_id"].to_numpy(),
            "fold": [number_of.get(name, TRAIN_ONLY) for name in names],
            "name": names,
        }
    )
    return table[used].reset_index(drop=True)


def _check_same_images(folds: Mapping[str, str], known: set[str], where: str) -> None:
    unknown = [image for image in folds if image not in known]
    if unknown:
        raise DatasetError(
            f"{where}: {len(unknown)} image(s) are none of the stimulus set, e.g. {unknown[0]!r}; "
            f"it has {len(known)}, e.g. {min(known)!r}"
        )
    missing = sorted(known - set(folds))
    if missing:
        raise DatasetError(
            f"{where}: {len(missing)} of {len(known)} images have no fold, e.g. {missing[0]!r}; "
            f"give each one, or {TRAIN!r} (always trained on) or {UNUSED!r} (left out)"
        )


def _check_groups(names: Sequence[str], stimuli: pd.DataFrame, where: str) -> None:
    first: dict[str, tuple[str, str]] = {}
    for image, group, name in zip(stimuli["image_id"], stimuli["group"], names, strict=True):
        if name == UNUSED:
            continue
        other, fold = first.setdefault(group, (image, name))
        if fold != name:
            raise DatasetError(
                f"{where}: {other!r} and {image!r} are of one group, {group!r}, which folds must "
                f"not split, and lie in {fold!r} and {name!r}; put them into one fold, or give the "
                "data set finer groups (option `group`)"
            )


def fold_problem(groups: Sequence[str], n_folds: int) -> str:
    """Say why images cannot be put into so many outer folds; ``""`` where they can.

    Parameters
    ----------
    groups
        Group of each image; a fold holds whole groups, the largest first, each in the fold with the
        fewest images.
    n_folds
        ``encoding.n_folds``.
    """
    sizes = sorted(Counter(groups).values(), reverse=True)
    n_images = sum(sizes)
    if len(sizes) < n_folds:
        what = (
            f"{n_images} images are of {len(sizes)} group(s)"
            if len(sizes) < n_images
            else f"there are {n_images} image(s)"
        )
        return (
            f"encoding.n_folds is {n_folds}, but {what}, and a group is never split: lower n_folds "
            "(2 at the least), or give the images finer groups (a column or option `group`)"
        )
    filled = [0] * n_folds
    for size in sizes:
        filled[filled.index(min(filled))] += size
    if min(filled) < FEWEST_HELD_OUT:
        return (
            f"encoding.n_folds is {n_folds}, and {n_images} images in {len(sizes)} group(s) leave "
            f"a fold with {min(filled)} image(s), expected {FEWEST_HELD_OUT} or more: correlations "
            "over fewer say nothing. Lower n_folds (2 at the least), or take more images"
        )
    return ""


def check_folds(stimuli: pd.DataFrame, n_folds: int | None, *, name: str) -> None:
    """Refuse images that do not fill the outer folds of a study.

    Parameters
    ----------
    stimuli
        Table of the stimulus set.
    n_folds
        ``encoding.n_folds``; None: there are none to be filled.
    name
        The stimulus set, for the error.

    Raises
    ------
    DatasetError
        There are fewer groups than folds, or a fold would hold fewer than three images.
    """
    problem = "" if n_folds is None else fold_problem(list(stimuli["group"]), n_folds)
    if problem:
        raise DatasetError(f"stimulus set {name!r}: {problem}")
