"""What people wrote of the images of the Natural Scenes Dataset, which are those of COCO.

``nsd_stim_info_merged.csv`` of NSD names, for each of its 73,000 images (``nsdId``, from 0), the
image of COCO that it was cut from (``cocoId``) and the part of COCO that this one belongs to
(``cocoSplit``: train2017 or val2017). ``captions_<part>.json`` of COCO holds five sentences or more
for each image; taken is the one with the lowest annotation id, so that the choice is the same on
every machine. NSD shows a square crop: what was cut away may be in the caption.

References
----------
Chen et al. 2015, "Microsoft COCO Captions" (arXiv:1504.00325); Lin et al. 2014 (arXiv:1405.0312).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from gradbrain.datasets.csv_tables import read_csv, strange_cells
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import Item, inspect_file

PARTS = ("train2017", "val2017")
INFO = "nsd_stim_info_merged.csv"
INFO_COLUMNS = ("nsdId", "cocoId", "cocoSplit")
#: Option of data sets of these images.
CaptionFolder = Annotated[
    str | None,
    Field(
        min_length=1,
        description="Folder of COCO's captions_train2017.json and captions_val2017.json, below "
        "data/<name>; none: images have no captions.",
    ),
]
OBTAIN_CAPTIONS = (
    "unpack annotations_trainval2017.zip of https://cocodataset.org/#download and name its folder "
    "in `captions`"
)
OBTAIN_INFO = "get nsddata/experiments/nsd/nsd_stim_info_merged.csv of NSD"


def captions_file(folder: Path, part: str) -> Path:
    """Path of the captions of a part of COCO."""
    return folder / f"captions_{part}.json"


def coco_captions(images: Iterable[int], *, folder: Path, info: Path) -> dict[int, str]:
    """Read the captions of images of NSD.

    Parameters
    ----------
    images
        Indices among the 73,000 images, from 0.
    folder
        Folder of COCO's captions.
    info
        NSD's table of its images.

    Returns
    -------
    dict
        Index -> caption, on one line.

    Raises
    ------
    DatasetError
        A file is missing or damaged, or an image is in neither table nor captions.
    """
    table = _read_info(info)
    wanted = pd.Index(list(images))
    unknown = wanted[~wanted.isin(table.index)]
    if len(unknown):
        raise DatasetError(
            f"{info}: has no row with the nsdId {unknown[0]} (from 0); {OBTAIN_INFO} again"
        )
    chosen = table.loc[wanted]
    found: dict[int, str] = {}
    for part, rows in chosen.groupby("cocoSplit", sort=True):
        path = captions_file(folder, str(part))
        sentences = _read_captions(path)
        for image, coco in zip(rows.index.tolist(), rows["cocoId"].tolist(), strict=True):
            if coco not in sentences:
                raise DatasetError(
                    f"{path}: holds no caption of image {coco}, which nsdId {image} was cut from; "
                    f"{OBTAIN_CAPTIONS}"
                )
            found[image] = sentences[coco]
    return found


def caption_problems(*, folder: Path, info: Path) -> list[str]:
    """Say which files are missing, cut short or no such tables, from a few bytes of each."""
    problems = []
    for path, obtain, read in _files(folder, info):
        if not path.is_file():
            problems.append(f"{path}: is missing; {obtain}")
            continue
        try:
            read(path)
        except DatasetError as error:
            problems.append(str(error))
    return problems


def inspect_captions(*, folder: Path, info: Path, subject: str = "") -> list[Item]:
    """Look at the files that captions are read from."""
    return [
        inspect_file(path, subject=subject, read=read) for path, _, read in _files(folder, info)
    ]


def _files(folder: Path, info: Path) -> list[tuple[Path, str, Any]]:
    """Each file, how to get it, and what looks at it."""
    captions = [(captions_file(folder, part), OBTAIN_CAPTIONS, _look_at_json) for part in PARTS]
    return [(info, OBTAIN_INFO, _look_at_info), *captions]


def _look_at_json(path: Path) -> None:
    """Refuse what cannot be a whole JSON mapping by its first and last bytes."""
    with path.open("rb") as file:
        first = file.read(1)
        file.seek(max(0, path.stat().st_size - 16))
        last = file.read().rstrip()[-1:]
    if (first, last) != (b"{", b"}"):
        raise DatasetError(
            f"{path}: is no whole JSON mapping (it begins with {first!r} and ends with {last!r}); "
            f"{OBTAIN_CAPTIONS}"
        )


def _look_at_info(path: Path) -> None:
    _read_info(path, nrows=1)


def _read_info(path: Path, nrows: int | None = None) -> pd.DataFrame:
    """Read the image and part of COCO behind each image: index ``nsdId``."""
    try:
        # To look at the head alone, nothing is read twice.
        read = pd.read_csv if nrows is not None else read_csv
        table = read(path, usecols=lambda name: name in INFO_COLUMNS, nrows=nrows)
    except FileNotFoundError:
        raise DatasetError(f"{path}: is missing; {OBTAIN_INFO}") from None
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); {OBTAIN_INFO} again") from error
    missing = [name for name in INFO_COLUMNS if name not in table.columns]
    if missing:
        raise DatasetError(f"{path}: lacks the column(s) {', '.join(missing)}; {OBTAIN_INFO} again")
    strange = strange_cells(table["cocoSplit"], PARTS)
    if strange or table["nsdId"].duplicated().any():
        raise DatasetError(
            f"{path}: expected one row per nsdId and the cocoSplit {' or '.join(PARTS)}, found "
            f"{', '.join(strange) or 'an nsdId twice'}; {OBTAIN_INFO} again"
        )
    return table.set_index("nsdId")


def _read_captions(path: Path) -> dict[int, str]:
    """Read the first caption of each image of COCO: that with the lowest annotation id."""
    try:
        annotations = json.loads(path.read_bytes())["annotations"]
        rows = sorted((int(row["id"]), int(row["image_id"]), row["caption"]) for row in annotations)
    except FileNotFoundError:
        raise DatasetError(f"{path}: is missing; {OBTAIN_CAPTIONS}") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DatasetError(
            f"{path}: cannot be read as captions of COCO ({type(error).__name__}: {error}); "
            f"{OBTAIN_CAPTIONS}"
        ) from error
    sentences: dict[int, str] = {}
    for _, image, caption in rows:
        sentence = " ".join(str(caption).split())
        if sentence:
            sentences.setdefault(image, sentence)
    return sentences
