"""Captions of COCO and NSD's table of its images, in the published formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def coco_id(index: int) -> int:
    """Image of COCO behind an image of NSD, from 0."""
    return 500_000 - 7 * index


def coco_part(index: int) -> str:
    """Part of COCO that the image belongs to; every third one is of val2017."""
    return "val2017" if index % 3 == 0 else "train2017"


def caption(index: int) -> str:
    """The caption that counts: that with the lowest annotation id."""
    return f"A person rides bicycle number {index}."


def write_coco(folder: Path, info: Path, images: Sequence[int]) -> None:
    """Write both files of captions, and the table with a row for each image of NSD.

    The caption that counts comes neither first nor last, and ends in a line break as some do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(
        {
            "cocoId": [coco_id(index) for index in images],
            "cocoSplit": [coco_part(index) for index in images],
            "cropBox": "(0, 0, 0.16, 0.17)",
            "loss": 0.16,
            "nsdId": list(images),
            "flagged": False,
            "shared1000": False,
        }
    )
    table.to_csv(info)
    for part in ("train2017", "val2017"):
        own = [index for index in images if coco_part(index) == part]
        rows = [(coco_id(index), 900_000 + index, "Later words.") for index in own]
        rows += [(coco_id(index), 10 + index, f"{caption(index)}\n") for index in own]
        rows += [(coco_id(index), 800_000 + index, "Words between.") for index in own]
        content = {
            "info": {"year": 2017},
            "images": [{"id": coco_id(index), "file_name": "x.jpg"} for index in own],
            "annotations": [
                {"image_id": image, "id": number, "caption": words} for image, number, words in rows
            ],
        }
        (folder / f"captions_{part}.json").write_text(json.dumps(content))
