"""Where the pixels of a stimulus lie: what each loader is told, as declared fields.

The table of a stimulus set names a loader and a locator for each image:

``file``
    ``{"path": "data/objects92/images/image_01.jpg"}``: a file, relative to the repository root.
``package_crop``
    ``{"package": "skimage", "file": "data/astronaut.png", "box": [left, top, right, bottom],
    "size": 128}``: a square of a photograph that an installed package carries, resized.
``hdf5``
    ``{"path": "data/nsd/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", "dataset": "imgBrick",
    "index": 12}``: one entry along the first axis of a dataset (images, height, width, 3), uint8.
    The file stays open, and nothing of it is copied.

Where a file has transparent pixels its locator also says what they lie on:
``"background": [255, 255, 255]``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from gradbrain.config.schema import StrictModel
from gradbrain.datasets.errors import ImageError

Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
Background = Annotated[
    tuple[Channel, Channel, Channel],
    Field(
        description="Red, green and blue (0 to 255) of what transparent pixels are laid on; "
        "images without such pixels are read the same whatever it is."
    ),
]
# What browsers and most programs that show pictures put behind them.
WHITE: Background = (255, 255, 255)


class FileLocator(StrictModel):
    """An image file."""

    path: str
    background: Background = WHITE


class CropLocator(StrictModel):
    """A square of a photograph that an installed package carries."""

    package: str
    file: str
    box: tuple[int, int, int, int] = Field(description="Left, top, right, bottom, in pixels.")
    size: int = Field(description="Edge of the stimulus in pixels.")
    background: Background = WHITE


class Hdf5Locator(StrictModel):
    """One image of an HDF5 file."""

    path: str
    dataset: str
    index: int = Field(description="Place along the first axis, from 0.")


Locator = FileLocator | CropLocator | Hdf5Locator

#: Loader -> what it is told.
LOADERS: Mapping[str, type[Locator]] = {
    "file": FileLocator,
    "package_crop": CropLocator,
    "hdf5": Hdf5Locator,
}


def parse_locator(loader: str, locator: str | Mapping[str, Any]) -> Locator:
    """Validate what a loader is told.

    Parameters
    ----------
    loader
        A key of `LOADERS`.
    locator
        A mapping, or its JSON text.

    Raises
    ------
    ImageError
        The loader is not known, the text is no JSON, or a key is missing, unknown or of the wrong
        kind.
    """
    declared = LOADERS.get(loader)
    if declared is None:
        raise ImageError(f"loader {loader!r} is not known; expected one of {', '.join(LOADERS)}")
    try:
        content = json.loads(locator) if isinstance(locator, str) else locator
    except json.JSONDecodeError as error:
        raise ImageError(f"locator {locator!r} is not JSON ({error})") from error
    needed = {key for key, field in declared.model_fields.items() if field.is_required()}
    known = set(declared.model_fields)
    if not isinstance(content, Mapping) or not needed <= set(content) <= known:
        optional = ", ".join(sorted(known - needed))
        raise ImageError(
            f"locator {locator!r} of loader {loader!r} must hold exactly the keys "
            f"{', '.join(sorted(needed))}" + (f", and may hold {optional}" if optional else "")
        )
    try:
        return declared.model_validate(dict(content))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, found {fault['input']!r}"
            for fault in error.errors()
        )
        raise ImageError(f"locator {locator!r} of loader {loader!r}: {faults}") from None
