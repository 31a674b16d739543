"""Measure what a band that tells nothing costs or gains beside a baseline of several bands.

Responses are made of two bands, in a ratio of each target's own; where the baseline has three, its
third tells nothing. One band more, of noise or silent (zeros), is then added in three ways: in a
search of its own over the simplex (`own`), with the baseline's choice to fall back on (`fallback`),
and with a baseline that may choose the same ratios as well (`shared`), which is what fits do. The
last line is JSON: gains in held-out R², means over data sets and their standard errors.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.band_weights import BandWeights, simplex_candidates
from gradbrain.encoding.bands import Band, make_band
from gradbrain.encoding.regression import ClosedFormRegression
from gradbrain.encoding.solver import Search, penalty_grid

SETTINGS = EncodingSettings()
WIDTHS = (60, 30, 20)
ADDED_WIDTH = 40
N_TARGETS, N_TEST = 150, 300
NOISE = 1.5


def make_data(
    seed: int, n_train: int, n_bands: int
) -> tuple[dict[str, Band], np.ndarray, np.ndarray]:
    """Bands by name, and training and test responses, shape (n_targets, n_images)."""
    generator = np.random.default_rng(seed)
    n_images = n_train + N_TEST
    features = {
        f"band{number}": generator.standard_normal((n_images, width))
        for number, width in enumerate(WIDTHS[:n_bands])
    }
    responses = NOISE * generator.standard_normal((N_TARGETS, n_images))
    share = generator.random(N_TARGETS)
    for name, part in (("band0", share), ("band1", 1.0 - share)):
        width = features[name].shape[1]
        made = generator.standard_normal((N_TARGETS, width)) @ features[name].T
        responses += np.sqrt(part / width)[:, None] * made
    features["noise"] = generator.standard_normal((n_images, ADDED_WIDTH))
    features["silent"] = np.zeros((n_images, 1))
    bands = {
        name: make_band(values[:n_train], values[n_train:], allow_constant=True)
        for name, values in features.items()
    }
    responses -= responses[:, :n_train].mean(axis=1, keepdims=True)
    return bands, np.ascontiguousarray(responses[:, :n_train]), responses[:, n_train:]


def explained(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Held-out R², mean over targets."""
    error = np.square(truth - predicted).sum(axis=1) / np.square(truth).sum(axis=1)
    return float(1.0 - error.mean())


def gains(seed: int, n_train: int, n_bands: int, settings: EncodingSettings) -> dict[str, float]:
    """Gain in R² of each band that is added, in each way."""
    bands, held_in, truth = make_data(seed, n_train, n_bands)
    names = [f"band{number}" for number in range(n_bands)]
    search = Search(
        penalty_grid(SETTINGS.log10_penalty_min, SETTINGS.log10_penalty_max, SETTINGS.n_penalties)
    )
    shared = BandWeights.of(n_bands, settings)
    count = settings.n_band_weights if n_bands == 2 else settings.n_simplex_draws
    usual = simplex_candidates(n_bands, count, settings.seed)
    wider = simplex_candidates(n_bands + 1, settings.n_simplex_draws, settings.seed)
    found = {}
    for way, weights in (
        ("own", None),
        ("fallback", BandWeights(usual, shared.extended)),
        ("shared", shared),
    ):
        for added in ("noise", "silent"):
            fits = ClosedFormRegression(bands, held_in, search, SETTINGS.n_band_weights)
            base = fits.mixture(names, usual if weights is None else weights.base)
            if weights is None:
                larger = fits.mixture([*names, added], wider)
            else:
                larger = fits.extension(names, added, weights)
            gain = explained(larger.prediction, truth) - explained(base.prediction, truth)
            found[f"{added}, {way}"] = gain
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[200, 1000], help="for training")
    parser.add_argument("--bands", type=int, nargs="+", default=[2, 3], help="of the baseline")
    parser.add_argument("--data-sets", type=int, default=12)
    parser.add_argument(
        "--draws", type=int, default=SETTINGS.n_simplex_draws, help="encoding.n_simplex_draws"
    )
    arguments = parser.parse_args()
    settings = SETTINGS.model_copy(update={"n_simplex_draws": arguments.draws})
    summary = {}
    for n_train in arguments.images:
        for n_bands in arguments.bands:
            runs = [gains(seed, n_train, n_bands, settings) for seed in range(arguments.data_sets)]
            for name in runs[0]:
                values = np.array([run[name] for run in runs])
                error = values.std() / np.sqrt(len(values))
                key = f"{n_train} images, {n_bands} bands, {name}"
                summary[key] = [round(float(values.mean()), 4), round(float(error), 4)]
                print(f"{key}: {values.mean():+.4f} ± {error:.4f}", file=sys.stderr, flush=True)
    print(json.dumps({**vars(arguments), "gain_r2": summary}))


if __name__ == "__main__":
    main()
