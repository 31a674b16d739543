"""Reading one stimulus, wherever its pixels lie.

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
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradbrain.datasets.errors import ImageError

# Modes that convert to RGB without a choice of scale; 16-bit and float images are refused.
EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
# The last chunk of a PNG file, and where it is looked for: some programs add a few bytes after it.
PNG_END, TAIL_BYTES = b"IEND", 1024
LOCATOR_KEYS = {
    "file": frozenset({"path"}),
    "package_crop": frozenset({"package", "file", "box", "size"}),
    "hdf5": frozenset({"path", "dataset", "index"}),
}


def load_image(loader: str, locator: str | Mapping[str, Any]) -> np.ndarray:
    """Decode one stimulus.

    Parameters
    ----------
    loader
        ``"file"``, ``"package_crop"`` or ``"hdf5"``.
    locator
        What the loader needs, as a mapping or as its JSON text.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.

    Raises
    ------
    ImageError
        Loader or locator are not understood, or the file is missing or unreadable.
    """
    where = _parse_locator(loader, locator)
    if loader == "file":
        return np.array(read_rgb(Path(where["path"])))
    if loader == "hdf5":
        return read_hdf5_image(Path(where["path"]), where["dataset"], int(where["index"]))
    photograph = _cached_rgb(str(package_file(where["package"], where["file"])))
    return crop(photograph, where["box"], where["size"])


def content_sha256(pixels: np.ndarray) -> str:
    """SHA-256 of an image's shape and RGB bytes.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError(
            f"an image of shape {pixels.shape} and type {pixels.dtype} was given, "
            "expected (height, width, 3) uint8"
        )
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def crop(photograph: Image.Image, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """Cut the square `box` (left, top, right, bottom; pixels) and resize its edge to `size`.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
    """
    left, top, right, bottom = (int(edge) for edge in box)
    width, height = photograph.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ImageError(
            f"the crop {list(box)} does not lie within a photograph of {width} x {height} pixels"
        )
    resized = photograph.resize(
        (size, size), resample=Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return np.array(resized)


def read_rgb(path: Path) -> Image.Image:
    """Read an image file as 8-bit RGB.

    Raises
    ------
    ImageError
        The file is missing, cut short, no image, or of more than 8 bits per channel.
    """
    try:
        with Image.open(path) as image:
            image.load()
            _check_mode(path, image.mode)
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise ImageError(
            f"{path}: there is no such image (looked from {Path.cwd()}); "
            "check the link data/<name> and make the stimulus table again"
        ) from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path}: cannot be read as an image ({error}); replace the damaged file"
        ) from error


def look_at_image(path: Path) -> None:
    """Refuse what cannot be an image of 8 bits by its header, and a PNG file without its end.

    Pixels are not decoded: damage in the middle shows when the stimulus table is made.

    Raises
    ------
    ImageError
        The file is no image, of more than 8 bits per channel, or a PNG file that is cut short.
    """
    try:
        with Image.open(path) as image:
            _check_mode(path, image.mode)
            is_png = image.format == "PNG"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            if is_png and PNG_END not in file.read():
                raise ImageError(f"{path}: is cut short; replace the damaged file")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path}: cannot be read as an image ({error}); replace the damaged file"
        ) from error


def _check_mode(path: Path, mode: str) -> None:
    if mode not in EIGHT_BIT_MODES:
        raise ImageError(
            f"{path}: has mode {mode!r}, expected 8 bits per channel; "
            "convert it to 8-bit PNG or JPEG"
        )


def read_hdf5_image(path: Path, dataset: str, index: int) -> np.ndarray:
    """Read one image of an HDF5 file.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    ImageError
        The file is missing or damaged, has no such dataset of images, or not so many.
    """
    images = _hdf5_images(str(path), dataset, os.getpid())
    if not 0 <= index < len(images):
        raise ImageError(
            f"{path}: {dataset!r} holds {len(images)} images, number {index} (from 0) was asked "
            "for; get the file again, or make the stimulus table again"
        )
    try:
        return np.asarray(images[index])
    except OSError as error:
        raise ImageError(
            f"{path}: image {index} of {dataset!r} cannot be read ({error}); get the file again"
        ) from error


@lru_cache(maxsize=4)
def _hdf5_images(path: str, dataset: str, process: int) -> Any:
    """Open a dataset of images once per process: a file handle must not cross a fork."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise ImageError(
            f"{path}: there is no such file (looked from {Path.cwd()}); check the link data/<name>"
        ) from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read as HDF5 ({error}); get the file again") from error
    images = file.get(dataset)
    if not isinstance(images, h5py.Dataset):
        raise ImageError(
            f"{path}: has no dataset {dataset!r}, it holds {', '.join(file) or 'nothing'}; "
            "get the file again"
        )
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ImageError(
            f"{path}: {dataset!r} has shape {images.shape} and type {images.dtype}, expected "
            "(images, height, width, 3) uint8"
        )
    return images


@lru_cache(maxsize=8)
def _cached_rgb(path: str) -> Image.Image:
    """Read a photograph once for the many crops that follow each other in a table."""
    return read_rgb(Path(path))


@lru_cache(maxsize=64)
def package_file(package: str, file: str) -> Path:
    """Locate a file that an installed package carries, without importing the package.

    Raises
    ------
    ImageError
        The package is not installed, or its version does not carry the file.
    """
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ImageError(
            f"the package {package!r}, which carries {file}, is not installed; "
            "install the pinned requirements in envs/"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file():
        raise ImageError(
            f"{path}: the installed version of {package!r} does not carry this photograph; "
            "install the version pinned in envs/, or name other photographs in the option "
            "`photographs`"
        )
    return path


def _parse_locator(loader: str, locator: str | Mapping[str, Any]) -> Mapping[str, Any]:
    expected = LOCATOR_KEYS.get(loader)
    if expected is None:
        raise ImageError(
            f"loader {loader!r} is not known; expected one of {', '.join(LOCATOR_KEYS)}"
        )
    try:
        where = json.loads(locator) if isinstance(locator, str) else locator
    except json.JSONDecodeError as error:
        raise ImageError(f"locator {locator!r} is not JSON ({error})") from error
    if not isinstance(where, Mapping) or set(where) != expected:
        raise ImageError(
            f"locator {locator!r} of loader {loader!r} must hold exactly the keys "
            f"{', '.join(sorted(expected))}"
        )
    return where
