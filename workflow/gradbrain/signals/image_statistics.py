"""Low-level statistics of images: luminance and contrast, colour, Gabor energies, gradients.

Numbers that any early visual system has, whatever it has learnt: the floor that activations must
exceed, and what a learning signal must tell more than. Levels stand in order of complexity, as
layers do. Spatial ones are means over the cells of a `GRID` x `GRID` grid, so that each image gives
873 numbers in all, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from skimage.color import rgb2lab
from skimage.feature import hog
from skimage.filters import gabor_kernel
from skimage.transform import pyramid_gaussian

from gradbrain.vocabulary.image_statistics import ALL_LEVELS, COLOUR, GABOR, HOG, LEVELS, LUMINANCE

FLOATS = NDArray[np.float64]

GRID = 4
N_ORIENTATIONS = 8
# Octaves of the pyramid; its filters see SIZE/4, SIZE/8, SIZE/16 and SIZE/32 cycles per image.
N_SCALES = 4
# Cycles per pixel of the filters in each scale, and their width in octaves (skimage's default).
FREQUENCY, BANDWIDTH = 0.25, 1.0
# Rec. 709 primaries (IEC 61966-2-1, sRGB) -> relative luminance.
LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])
# Cells of HOG that are normalised together, along each edge.
BLOCK = 2

#: Level -> features per image.
WIDTHS = {
    LUMINANCE: 2 + 2 * GRID**2,
    COLOUR: 7 + 2 * GRID**2,
    GABOR: N_SCALES * N_ORIENTATIONS * GRID**2,
    HOG: (GRID - BLOCK + 1) ** 2 * BLOCK**2 * N_ORIENTATIONS,
}
WIDTHS[ALL_LEVELS] = sum(WIDTHS.values())


def image_statistics(image: NDArray[np.uint8]) -> dict[str, FLOATS]:
    """Statistics of one image.

    Parameters
    ----------
    image
        sRGB, (size, size, 3); size a multiple of 32, 64 or more.

    Returns
    -------
    dict
        Level -> its features, (WIDTHS[level],); `ALL_LEVELS` holds all levels side by side.
    """
    colours = image / 255.0
    lab = rgb2lab(colours)
    lightness = lab[..., 0] / 100.0
    of_level: dict[str, Callable[[], FLOATS]] = {
        LUMINANCE: lambda: luminance_statistics(relative_luminance(colours)),
        COLOUR: lambda: colour_statistics(colours, lab),
        GABOR: lambda: gabor_energies(lightness).ravel(),
        HOG: lambda: gradient_histograms(lightness),
    }
    found = {level: of_level[level]() for level in LEVELS}
    return {**found, ALL_LEVELS: np.concatenate(list(found.values()))}


def cell_means(values: FLOATS) -> FLOATS:
    """Means over the cells of the grid: (..., size, size) to (..., GRID, GRID)."""
    size = values.shape[-1]
    cells = values.reshape(*values.shape[:-2], GRID, size // GRID, GRID, size // GRID)
    means: FLOATS = cells.mean(axis=(-3, -1))
    return means


def relative_luminance(colours: FLOATS) -> FLOATS:
    """Relative luminance Y in [0, 1] of sRGB colours in [0, 1] (IEC 61966-2-1)."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance: FLOATS = linear @ LUMINANCE_WEIGHTS
    return luminance


def luminance_statistics(luminance: FLOATS) -> FLOATS:
    """Mean luminance and RMS contrast, of the whole image and of each cell.

    RMS contrast is the standard deviation of luminance where white is 1 (Peli 1990, *JOSA A*
    7:2032): c·L/√2 for a sine grating of mean L and Michelson contrast c.

    Returns
    -------
    array of shape (2 + 2 GRID²,)
        Mean, contrast, means of the cells row by row, contrasts of the cells.
    """
    mean = luminance.mean()
    local = cell_means(luminance)
    # About the mean of the image, which loses no digits to large squares.
    variance = cell_means((luminance - mean) ** 2) - (local - mean) ** 2
    contrast = np.sqrt(np.maximum(variance, 0.0))
    return np.concatenate([[mean, luminance.std()], local.ravel(), contrast.ravel()])


def colour_statistics(colours: FLOATS, lab: FLOATS) -> FLOATS:
    """Mean and spread in CIELAB, colourfulness, and the mean a* and b* of each cell.

    Parameters
    ----------
    colours
        sRGB in [0, 1], (size, size, 3).
    lab
        The same in CIELAB, white D65.

    Returns
    -------
    array of shape (7 + 2 GRID²,)
        Means of L*, a*, b*, their standard deviations, colourfulness, a* of the cells row by row,
        b* of the cells.
    """
    local = cell_means(np.moveaxis(lab[..., 1:], -1, 0))
    return np.concatenate(
        [
            lab.mean(axis=(0, 1)),
            lab.std(axis=(0, 1)),
            [colourfulness(colours)],
            local.ravel(),
        ]
    )


def colourfulness(colours: FLOATS) -> float:
    """Colourfulness M3, of colours in [0, 255] (Hasler & Süsstrunk 2003, *Proc. SPIE* 5007:87)."""
    red, green, blue = np.moveaxis(255.0 * colours, -1, 0)
    opponents = np.stack([red - green, 0.5 * (red + green) - blue])
    spread = np.sqrt((opponents.std(axis=(1, 2)) ** 2).sum())
    offset = np.sqrt((opponents.mean(axis=(1, 2)) ** 2).sum())
    return float(spread + 0.3 * offset)


def orientations() -> FLOATS:
    """Directions in which the stripes of the filters follow each other, radians from the x axis."""
    return np.arange(N_ORIENTATIONS) * np.pi / N_ORIENTATIONS


def gabor_energies(lightness: FLOATS) -> FLOATS:
    """Energy of Gabor filters over scales and orientations, averaged over the cells of the grid.

    At each octave of a Gaussian pyramid (Burt & Adelson 1983) the modulus of a complex Gabor
    filter (a quadrature pair: the energy model of Adelson & Bergen 1985, its square root). Filters
    have no response to uniform light, and the image is mirrored at its edges.

    Parameters
    ----------
    lightness
        L*/100, (size, size).

    Returns
    -------
    array of shape (N_SCALES, N_ORIENTATIONS, GRID, GRID)
        From fine to coarse.
    """
    pyramid = pyramid_gaussian(lightness, max_layer=N_SCALES - 1, downscale=2)
    return np.stack([cell_means(_energy(np.asarray(scale))) for scale in pyramid])


def _energy(lightness: FLOATS) -> FLOATS:
    """Modulus of every filter at every pixel, (N_ORIENTATIONS, size, size)."""
    size, margin = len(lightness), _filters()[0].shape[0] // 2
    padded = np.pad(lightness, margin, mode="symmetric")
    spectrum = fft.fft2(padded)
    # Circular convolution is right but for the margins, which are cut off.
    response = fft.ifft2(spectrum * _filter_spectra(len(padded)))
    kept = slice(2 * margin, 2 * margin + size)
    energy: FLOATS = np.abs(response[:, kept, kept])
    return energy


@lru_cache(maxsize=1)
def _filters() -> list[NDArray[np.complex128]]:
    """Complex Gabor filters of all orientations, on squares of one odd size."""
    found = [gabor_kernel(FREQUENCY, theta=theta, bandwidth=BANDWIDTH) for theta in orientations()]
    edge = max(max(kernel.shape) for kernel in found)
    filters = []
    for kernel in found:
        rows, columns = ((edge - length) // 2 for length in kernel.shape)
        square = np.pad(kernel, ((rows, rows), (columns, columns)))
        envelope = np.abs(square)
        filters.append(square - envelope * square.sum() / envelope.sum())
    return filters


@lru_cache(maxsize=8)
def _filter_spectra(size: int) -> NDArray[np.complex128]:
    """Spectra of the filters, (N_ORIENTATIONS, size, size)."""
    return np.stack([fft.fft2(kernel, (size, size)) for kernel in _filters()])


def gradient_histograms(lightness: FLOATS) -> FLOATS:
    """Histograms of oriented gradients (Dalal & Triggs 2005), cells as in the grid.

    Parameters
    ----------
    lightness
        L*/100, (size, size).

    Returns
    -------
    array of shape (WIDTHS["hog"],)
        Blocks of BLOCK x BLOCK cells row by row, cells of the block, orientations.
    """
    histograms: FLOATS = hog(
        lightness,
        orientations=N_ORIENTATIONS,
        pixels_per_cell=(len(lightness) // GRID,) * 2,
        cells_per_block=(BLOCK, BLOCK),
        block_norm="L2-Hys",
    )
    return histograms
