"""Reading one stimulus as a person sees it, wherever its pixels lie.

:mod:`gradbrain.datasets.locators` says what a table of stimuli tells of each image. An image file
is one of `FORMATS` by its content, whatever its name. It is turned as its EXIF orientation says,
transparent pixels are laid on a stated ground, and files of several frames are refused.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from gradbrain.datasets.errors import ImageError
from gradbrain.datasets.locators import (
    WHITE,
    Background,
    FileLocator,
    Hdf5Locator,
    parse_locator,
)

log = logging.getLogger(__name__)

# Pillow tries these and no others: it would hand EPS to Ghostscript, for example.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
FORMATS_IN_WORDS = "JPEG, PNG, WebP or GIF of one frame"
# Formats whose further frames are shown one after the other. Those of JPEG (MPO) are not: the
# first is the photograph, others are previews, depth or the view of another eye.
FORMATS_OF_FRAMES = frozenset({"PNG", "WEBP", "GIF"})
#: First bytes -> format that is not read, so that a message can name it.
SIGNATURES = {
    b"%!PS": "EPS or PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}
# HEIF and AVIF say what they are in a box that begins at byte 4.
HEIF_BOX, HEIF_PLACE = b"ftyp", slice(4, 8)
# Above it Pillow warns of a decompression bomb; as RGB it is 256 MiB.
MOST_PIXELS = 89_478_485
# Modes that convert to RGB without a choice of scale; 16-bit and float images are refused.
EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
# The first chunk of a PNG file holds the bits per sample at this byte; Pillow reads 16 bits of
# colour as 8 without saying so.
PNG_DEPTH_BYTE = 24
HEADER_BYTES = 32
# The last chunk of a PNG file, and where it is looked for: some programs add a few bytes after it.
PNG_END, TAIL_BYTES = b"IEND", 1024
# EXIF orientation -> what sets the picture upright; 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """An image file as a person sees it.

    Attributes
    ----------
    rgb
        8-bit RGB, upright.
    background
        What transparent pixels were laid on; None where the file has none.
    """

    rgb: Image.Image
    background: Background | None

    @property
    def locator_keys(self) -> dict[str, list[int]]:
        """What a locator must say besides where the file lies, so that it is read the same."""
        return {} if self.background is None else {"background": list(self.background)}


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
    where = parse_locator(loader, locator)
    if isinstance(where, FileLocator):
        return np.array(read_rgb(Path(where.path), background=where.background))
    if isinstance(where, Hdf5Locator):
        return read_hdf5_image(Path(where.path), where.dataset, where.index)
    photograph = _cached_rgb(str(package_file(where.package, where.file)), where.background)
    return crop(photograph, where.box, where.size)


def content_sha256(pixels: np.ndarray) -> str:
    """SHA-256 of an image's shape and RGB bytes.

    Parameters
    ----------
    pixels
        Array of uint8, shape (height, width, 3).
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


def read_rgb(path: Path, *, background: Background = WHITE) -> Image.Image:
    """Read an image file as 8-bit RGB; see :func:`read_picture`."""
    return read_picture(path, background=background).rgb


def read_picture(path: Path, *, background: Background = WHITE) -> Picture:
    """Read an image file as a person sees it: upright, transparent pixels on a ground.

    Colour profiles are not applied.

    Parameters
    ----------
    path
        A file of `FORMATS`.
    background
        Red, green and blue of the ground, 0 to 255.

    Raises
    ------
    ImageError
        The file is missing, cut short, of another format, animated, too large, or of more than 8
        bits per channel.
    """
    with _opened(path) as image:
        image.load()
        turn = TURNS.get(_orientation(path, image))
        clear = _with_alpha(path, image)
        if clear is None:
            picture = Picture(image.convert("RGB"), None)
        else:
            ground = Image.new("RGBA", clear.size, (*background, 255))
            picture = Picture(Image.alpha_composite(ground, clear).convert("RGB"), background)
        return picture if turn is None else Picture(picture.rgb.transpose(turn), picture.background)


def look_at_image(path: Path) -> None:
    """Refuse what cannot be a stimulus by its header, and a PNG file without its end.

    Pixels are not decoded: damage in the middle shows when the stimulus table is made.

    Raises
    ------
    ImageError
        The file is of no format that is read, animated, too large, of more than 8 bits per
        channel, or a PNG file that is cut short.
    """
    with _opened(path) as image:
        is_png = image.format == "PNG"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            if is_png and PNG_END not in file.read():
                raise ImageError(f"{path}: is cut short; replace the damaged file")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file that may be a stimulus; what its reader raises names the file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_size(path, image)
            _check_depth(path, image)
            _check_frames(path, image)
            yield image
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(
            f"{path}: there is no such image (looked from {Path.cwd()}); "
            "check the link data/<name> and make the stimulus table again"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: {error}; {_too_large()}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path}: {_unknown_format(path)}") from error
    except Exception as error:  # readers of damaged files raise a dozen kinds
        raise ImageError(
            f"{path}: cannot be read as an image ({error}); replace the damaged file"
        ) from error


def _unknown_format(path: Path) -> str:
    """Say what a file is that is of none of `FORMATS`, as far as its first bytes tell."""
    head = _header(path)
    found = next((name for start, name in SIGNATURES.items() if head.startswith(start)), None)
    if head[HEIF_PLACE] == HEIF_BOX:
        found = "HEIF or AVIF"
    if found is None:
        return (
            f"cannot be read as an image (its content is no {FORMATS_IN_WORDS}); replace the "
            "damaged file, or convert it to 8-bit PNG"
        )
    return (
        f"is {found} by its content, expected {FORMATS_IN_WORDS}, whatever its name ends in; "
        "convert it to 8-bit PNG"
    )


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)


def _too_large() -> str:
    return f"the limit is {MOST_PIXELS} pixels; make it smaller, networks see a few hundred a side"


def _check_size(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ImageError(
            f"{path}: has {width} x {height} = {width * height} pixels; {_too_large()}"
        )


def _check_depth(path: Path, image: Image.Image) -> None:
    if image.mode not in EIGHT_BIT_MODES:
        found = f"mode {image.mode!r}"
    elif image.format == "PNG" and _png_depth(path) > 8:
        found = f"{_png_depth(path)} bits per channel"
    else:
        return
    raise ImageError(
        f"{path}: has {found}, expected 8 bits per channel; convert it to 8-bit PNG or JPEG"
    )


def _png_depth(path: Path) -> int:
    """Bits per sample that the header of a PNG file tells."""
    return _header(path)[PNG_DEPTH_BYTE]


def _check_frames(path: Path, image: Image.Image) -> None:
    n_frames = getattr(image, "n_frames", 1) if image.format in FORMATS_OF_FRAMES else 1
    if n_frames > 1:
        raise ImageError(
            f"{path}: is animated, it has {n_frames} frames, expected one; save the frame that was "
            "shown as a file of its own"
        )


def _orientation(path: Path, image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where the file tells none or its EXIF data are damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # Pillow raises a dozen kinds; other programs then show it unturned
        log.warning("%s: its EXIF data cannot be read (%s); it is not turned", path, error)
        return 1


def _with_alpha(path: Path, image: Image.Image) -> Image.Image | None:
    """Image as RGBA where it has transparent pixels, else None."""
    if not image.has_transparency_data:
        return None
    if image.format == "PNG" and image.mode == "L" and _png_depth(path) < 8:
        # Pillow spreads samples of 2 and 4 bits over 0 to 255, but not the one that is transparent.
        image.info["transparency"] *= 255 // (2 ** _png_depth(path) - 1)
    clear = image.convert("RGBA")
    below_opaque = clear.getchannel("A").histogram()[:255]
    return clear if any(below_opaque) else None


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
    except Exception as error:  # of HDF5, whatever was damaged
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
    try:
        images = file.get(dataset)
        names = ", ".join(file) or "nothing"
    except Exception as error:  # of HDF5, whatever was damaged
        raise ImageError(f"{path}: cannot be read as HDF5 ({error}); get the file again") from error
    if not isinstance(images, h5py.Dataset):
        raise ImageError(
            f"{path}: has no dataset {dataset!r}, it holds {names}; get the file again"
        )
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ImageError(
            f"{path}: {dataset!r} has shape {images.shape} and type {images.dtype}, expected "
            "(images, height, width, 3) uint8"
        )
    return images


@lru_cache(maxsize=8)
def _cached_rgb(path: str, background: Background) -> Image.Image:
    """Read a photograph once for the many crops that follow each other in a table."""
    return read_rgb(Path(path), background=background)


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
