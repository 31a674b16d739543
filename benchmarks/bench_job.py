"""Time the parts of one outer fold of an encoding job: bands, fits, scores.

An encoding job is one layer and one subject: a PCA of all layers' activations, single fits of
every band, the layer's activation beside those of all layers, and per signal two pairs of bands
(with the layer's activation, and with all layers'), each scored with its draws. The fold is run at
two numbers of targets, so that what does not depend on targets and what each target costs can be
told apart. The last line is JSON, with the constants of the estimate (gradbrain.plan.cost_rates)
that follow; docs/scaling.md makes its sums from it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.fit import make_bands, make_regression, make_search
from gradbrain.encoding.fold_models import FoldModels
from gradbrain.encoding.inputs import LayerFeatures
from gradbrain.encoding.scores import FoldScorer, UnitLayout
from gradbrain.encoding.splits import OuterSplit
from gradbrain.plan.fit_costs import JOINT_WIDTH, FitSize, rows_tried
from gradbrain.store import SignalIdentity

Clock = Callable[[], float]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
N_UNITS = 20


class TimedScorer(FoldScorer):
    """A scorer that adds up the time spent in it: in making it, and in all its public methods."""

    def __init__(self, clock: Clock, *arguments: Any):
        self._clock = clock
        self.seconds = 0.0
        self._timed(super().__init__)(*arguments)
        for name, method in vars(FoldScorer).items():
            if callable(method) and not name.startswith("_"):
                setattr(self, name, self._timed(partial(method, self)))

    def _timed(self, method: Callable) -> Callable:
        def run(*arguments: Any) -> Any:
            start, before = self._clock(), self.seconds
            result = method(*arguments)
            # In the place of what methods that it calls have added.
            self.seconds = before + self._clock() - start
            return result

        return run


def make_features(
    n_images: int, n_features: int, n_layers: int, n_signals: int, n_nuisance: int = 0
) -> LayerFeatures:
    """Random features; their values do not bear on the time."""
    generator = np.random.default_rng(0)

    def draw(width: int = n_features) -> np.ndarray:
        return generator.standard_normal((n_images, width), dtype=np.float32)

    activations = {f"layer{number}": draw() for number in range(n_layers)}
    signals = {SignalIdentity("activation", "activation"): activations["layer0"]}
    signals |= {SignalIdentity(f"signal{n}", "learning"): draw() for n in range(n_signals)}
    band = {SignalIdentity("band", "nuisance"): draw(n_nuisance)} if n_nuisance else {}
    return LayerFeatures(signals, activations, list(activations), {"layer": "layer0"}, band)


def time_fold(
    features: LayerFeatures, n_targets: int, settings: EncodingSettings, clock: Clock
) -> dict[str, float]:
    """Seconds of the parts of one fold that holds out a fifth of the images."""
    n_images = len(features.activations["layer0"])
    test, train = np.split(np.arange(n_images), [n_images // 5])
    names = np.array([f"image{number:06d}" for number in range(n_images)])
    generator = np.random.default_rng(1)
    responses = generator.standard_normal((n_targets, n_images), dtype=np.float32)
    stops = np.linspace(0, n_targets, N_UNITS + 1).astype(int)[1:]
    layout = UnitLayout(tuple(map(str, range(N_UNITS))), stops, n_targets, False)

    start = clock()
    bands = make_bands(features, OuterSplit(0, train, test), settings)
    after_bands = clock()
    search = make_search(settings, layout, names[train])
    held_in = np.ascontiguousarray(responses[:, train])
    regression = make_regression(bands, held_in, search, settings)
    draws = draw_images(names[test], settings.n_draws, settings.seed, 0)
    held_out = np.ascontiguousarray(responses[:, test])
    scorer = TimedScorer(clock, held_out, layout, draws)
    weights = BandWeights.of(len(features.fits.baseline), settings)
    FoldModels(regression, scorer, features.fits, weights).run()
    stop = clock()
    return {
        "bands": round(after_bands - start, 2),
        "fits": round(stop - after_bands - scorer.seconds, 2),
        "scores": round(scorer.seconds, 2),
    }


def constants(
    seconds: dict[int, dict[str, float]], features: LayerFeatures, settings: EncodingSettings
) -> dict[str, float]:
    """What the estimate of a study calls these times, from the fewest and the most targets."""
    few, many = min(seconds), max(seconds)
    table = features.activations["layer0"]
    size = FitSize(
        images=len(table),
        targets=many,
        units=N_UNITS,
        width=table.shape[1],
        all_widths=table.shape[1] * len(features.activations),
        signals=len(features.signals) - 1,
        nuisance=tuple(band.shape[1] for band in features.nuisance.values()),
    )
    tried = rows_tried(size, settings, paired=features.paired)
    n_train = len(table) * (1 - 1 / settings.n_folds)

    def work(power: int) -> float:
        return sum(
            count * (min(width, n_train) / JOINT_WIDTH) ** power for width, count in tried.items()
        )

    def line(part: str) -> tuple[float, float]:
        slope = (seconds[many][part] - seconds[few][part]) / (many - few)
        return seconds[few][part] - slope * few, slope

    (fits, fits_slope), (scores, scores_slope) = line("fits"), line("scores")
    rows = len(features.fits.rows())
    return {
        "rows_of_weights": sum(tried.values()),
        "weights_s": round(fits / work(3), 3),
        "weights_ms_per_target": round(1e3 * fits_slope / work(2), 4),
        "rows_of_scores": rows,
        "row_s": round(scores / rows, 3),
        "row_ms_per_target": round(1e3 * scores_slope / rows, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10000, help="of which a fifth is held out")
    parser.add_argument("--features", type=int, default=1024, help="per signal and layer")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--signals", type=int, default=1, help="besides the activation")
    parser.add_argument("--targets", type=int, nargs="+", default=[1000, 3000])
    parser.add_argument("--nuisance", type=int, default=0, help="features of a band beside them")
    parser.add_argument(
        "--alone",
        action="store_true",
        help="signals alone, as with encoding.variance_partitioning: false",
    )
    parser.add_argument("--components", type=int, default=1000, help="of all layers' activations")
    parser.add_argument("--backend", choices=("numpy", "torch"), default="numpy")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    settings = EncodingSettings(
        baseline_components=arguments.components,
        backend=arguments.backend,
        device=arguments.device,
    )
    features = make_features(
        *(arguments.images, arguments.features, arguments.layers),
        *(arguments.signals, arguments.nuisance),
    )
    features = replace(features, paired=not arguments.alone)
    clock = CLOCKS[arguments.clock]
    seconds = {}
    for count in arguments.targets:
        seconds[count] = time_fold(features, count, settings, clock)
        print(f"{count} targets: {seconds[count]}", file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {**vars(arguments), "seconds": seconds, "peak_gib": round(peak, 2)}
    if len(seconds) > 1:
        result |= constants(seconds, features, settings)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
