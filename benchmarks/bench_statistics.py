"""Time the image statistics of a photograph, level by level; the same Gabor energies by skimage.

CPU milliseconds per image on one core, of crops of a photograph that scikit-image carries; the last
line is JSON. `peer` is `skimage.filters.gabor` over the same scales and orientations.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
from skimage.color import rgb2lab
from skimage.data import astronaut
from skimage.filters import gabor
from skimage.transform import pyramid_gaussian

from gradbrain.config.schema import ModelEntry
from gradbrain.models.crop import square_crop
from gradbrain.signals import image_statistics as levels


def milliseconds(step: Callable[[], object], n_images: int) -> float:
    """CPU time of a step, mean over repetitions, the first left out."""
    step()
    start = time.process_time()
    for _ in range(n_images):
        step()
    return 1e3 * (time.process_time() - start) / n_images


def gabor_by_skimage(lightness: np.ndarray) -> list[np.ndarray]:
    """Moduli of the filters of :func:`levels.gabor_energies`, filtered one by one."""
    scales = pyramid_gaussian(lightness, max_layer=levels.N_SCALES - 1, downscale=2)
    return [
        np.hypot(*gabor(scale, levels.FREQUENCY, theta=theta, bandwidth=levels.BANDWIDTH))
        for scale in scales
        for theta in levels.orientations()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--size", type=int, default=128, help="input_size")
    arguments = parser.parse_args()
    photograph = astronaut()
    entry = ModelEntry(
        name="bench",
        source="statistics",
        architecture="image_statistics",
        weights={"source": "none"},
        input_size=arguments.size,
    )
    image = square_crop(photograph, entry)
    lightness = rgb2lab(image)[..., 0] / 100.0
    steps: dict[str, Callable[[], object]] = {
        "crop": lambda: square_crop(photograph, entry),
        "all_levels": lambda: levels.image_statistics(image),
        "gabor": lambda: levels.gabor_energies(lightness),
        "hog": lambda: levels.gradient_histograms(lightness),
        "peer": lambda: gabor_by_skimage(lightness),
    }
    found = {name: round(milliseconds(step, arguments.images), 2) for name, step in steps.items()}
    for name, value in found.items():
        print(f"{name}: {value} ms", file=sys.stderr)
    ratio = round(found["peer"] / found["gabor"], 2)
    print(json.dumps({**vars(arguments), "machine": platform.machine(), "ms": found,
                      "gabor_over_peer": ratio}))  # fmt: skip


if __name__ == "__main__":
    main()
