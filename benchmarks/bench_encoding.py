"""Time the closed-form banded ridge against himalaya and scikit-learn on the same arrays.

All solvers get the same centred arrays in one process. himalaya searches the same band weights
(passed as `n_iter`) and penalties with KFold(5), in its torch and numpy backends, for several
`n_targets_batch`; its best time counts. The floor is the time of what no closed form can avoid:
the products of features with themselves and with responses, and one eigendecomposition per band
weight. The last line is JSON with the ratios; times and the machine go to stderr.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
from scipy import linalg

from gradbrain.encoding.estimator import BandedRidge
from gradbrain.encoding.solver import penalty_grid

Clock = Callable[[], float]

# CPU time is for a machine with other work on it, with one thread (OMP_NUM_THREADS=1).
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PENALTIES = penalty_grid(0, 8, 10)
LINE = np.linspace(0.0, 1.0, 11)
# himalaya divides by the root of a band weight: the ends stay off zero.
HIMALAYA_WEIGHTS = np.stack([np.clip(LINE, 1e-6, 1 - 1e-6), np.clip(1 - LINE, 1e-6, 1 - 1e-6)], 1)


@dataclass(frozen=True)
class Size:
    """Numbers of training images, features per band and targets; which peers are run."""

    n_train: int
    n_features: int
    n_targets: int
    peers: bool = True


SIZES = {
    "small": Size(2000, 256, 2000),
    "large": Size(4000, 512, 4000),
    "dual": Size(300, 2000, 5000),
    "nsd": Size(8000, 1024, 40000, peers=False),
}


def make_arrays(size: Size, n_targets: int) -> tuple[list, np.ndarray, list, np.ndarray]:
    """Two bands of features with falling variance and noisy responses, float32, centred."""
    generator = np.random.default_rng(0)
    n_test = 500
    n_images = size.n_train + n_test
    spectrum = (1.0 + np.arange(size.n_features)) ** -0.5
    spectrum *= np.sqrt(1000.0 / np.sum(spectrum**2))
    bands = [
        (generator.standard_normal((n_images, size.n_features)) * spectrum).astype(np.float32)
        for _ in range(2)
    ]
    responses = generator.standard_normal((n_images, n_targets), dtype=np.float32) * 2
    for band in bands:
        share = generator.random(n_targets, dtype=np.float32) / np.sqrt(1000.0)
        coefficients = generator.standard_normal((size.n_features, n_targets), dtype=np.float32)
        responses += band @ (coefficients * share)
    train = slice(0, size.n_train)
    bands = [band - band[train].mean(axis=0) for band in bands]
    responses = responses - responses[train].mean(axis=0)
    test = slice(size.n_train, None)
    return (
        [np.ascontiguousarray(band[train]) for band in bands],
        np.ascontiguousarray(responses[train]),
        [np.ascontiguousarray(band[test]) for band in bands],
        np.ascontiguousarray(responses[test]),
    )


def best_time(function: Callable[[], object], repeats: int, clock: Clock) -> float:
    """Shortest time in seconds."""
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def mean_r(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Pearson r over images, averaged over targets."""
    p, y = predicted - predicted.mean(axis=0), truth - truth.mean(axis=0)
    return float(np.mean((p * y).sum(0) / np.sqrt((p**2).sum(0) * (y**2).sum(0))))


def note(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr, flush=True)


def peak_gib() -> float:
    """Peak resident memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def time_floor(train: list[np.ndarray], responses: np.ndarray, repeats: int, clock: Clock) -> float:
    """Products and decompositions alone, in the types that the solver uses."""
    stacked = np.concatenate(train, axis=1)
    wide = stacked.astype(np.float64)
    primal = stacked.shape[1] <= len(stacked)
    by_target = np.ascontiguousarray(responses.T)

    def run() -> None:
        gram = wide.T @ wide if primal else wide @ wide.T
        if primal:
            by_target @ stacked
        for _ in LINE:
            linalg.eigh(gram, driver="evd", check_finite=False)

    return best_time(run, repeats, clock)


def time_himalaya(
    train: list[np.ndarray],
    responses: np.ndarray,
    test: list[np.ndarray],
    backends: list[str],
    clock: Clock,
) -> tuple[float, np.ndarray]:
    """Best time over backends and batch sizes, and the held-out prediction."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
    from himalaya.ridge import solve_group_ridge_random_search

    n_targets = responses.shape[1]
    primal = sum(band.shape[1] for band in train) <= len(train[0])
    best, predicted = np.inf, np.empty(0)
    for backend_name in backends:
        backend = set_backend(backend_name)
        for batch in (n_targets, max(n_targets // 4, 1)):
            options = {
                "n_iter": HIMALAYA_WEIGHTS.astype(np.float32),
                "alphas": backend.asarray(PENALTIES.astype(np.float32)),
                "cv": 5,
                "n_targets_batch": batch,
                "progress_bar": False,
            }
            start = clock()
            if primal:
                _, weights, _ = solve_group_ridge_random_search(
                    [backend.asarray(band) for band in train],
                    backend.asarray(responses),
                    return_weights=True,
                    **options,
                )
            else:
                log_weights, weights, _ = solve_multiple_kernel_ridge_random_search(
                    backend.asarray(np.stack([band @ band.T for band in train])),
                    backend.asarray(responses),
                    return_weights="dual",
                    **options,
                )
            elapsed = clock() - start
            note(f"himalaya {backend_name}, n_targets_batch={batch}: {elapsed:.2f} s")
            if elapsed < best:
                best = elapsed
                weights = backend.to_numpy(weights)
                if primal:
                    predicted = np.concatenate(test, axis=1) @ weights
                else:
                    scale = np.exp(backend.to_numpy(log_weights))
                    predicted = sum(
                        (held_out @ band.T @ weights) * factor
                        for band, held_out, factor in zip(train, test, scale, strict=True)
                    )
    set_backend("numpy")
    return best, predicted


def time_scikit_learn(band: np.ndarray, responses: np.ndarray, clock: Clock) -> float:
    """RidgeCV with a penalty per target, by its own leave-one-out."""
    from sklearn.linear_model import RidgeCV

    start = clock()
    RidgeCV(alphas=PENALTIES, alpha_per_target=True, fit_intercept=False).fit(band, responses)
    return clock() - start


def compare(size: Size, repeats: int, backends: list[str], clock: Clock) -> dict[str, float]:
    """Run all solvers at one size."""
    train, responses, test, truth = make_arrays(size, size.n_targets)
    model = BandedRidge(PENALTIES, n_band_weights=len(LINE))
    ours = best_time(lambda: model.fit(train, responses), repeats, clock)
    peak = peak_gib()
    r = mean_r(model.predict(test), truth)
    floor = time_floor(train, responses, repeats, clock)
    single = best_time(lambda: BandedRidge(PENALTIES).fit(train[:1], responses), repeats, clock)
    note(f"this solver: {ours:.3f} s, single band {single:.3f} s, floor {floor:.3f} s, r {r:.4f}")
    sklearn = time_scikit_learn(train[0], responses, clock)
    note(f"scikit-learn RidgeCV, single band: {sklearn:.2f} s")
    himalaya, predicted = time_himalaya(train, responses, test, backends, clock)
    reference = mean_r(predicted, truth)
    note(f"himalaya: {himalaya:.2f} s, r {reference:.4f}")
    return {
        "speedup_vs_himalaya": round(himalaya / ours, 2),
        "r_minus_himalaya": round(r - reference, 5),
        "speedup_vs_sklearn_single_band": round(sklearn / single, 2),
        "time_over_floor": round(ours / floor, 3),
        "peak_gib": round(peak, 3),
    }


def scale_targets(size: Size, clock: Clock) -> dict[str, object]:
    """Time one fit at a quarter, a half and all of the targets."""
    seconds = {}
    for n_targets in (size.n_targets // 4, size.n_targets // 2, size.n_targets):
        train, responses, _, _ = make_arrays(size, n_targets)
        model = BandedRidge(PENALTIES, n_band_weights=len(LINE), target_batch=5000)
        seconds[n_targets] = round(best_time(partial(model.fit, train, responses), 1, clock), 2)
        note(f"{n_targets} targets: {seconds[n_targets]} s, peak {peak_gib():.2f} GiB")
    return {"seconds_by_targets": seconds, "peak_gib": round(peak_gib(), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the best counts")
    parser.add_argument(
        "--backends", nargs="+", default=["torch", "numpy"], help="himalaya's, all timed"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    clock = CLOCKS[arguments.clock]
    warnings.simplefilter("ignore")
    size = SIZES[arguments.size]
    note(f"{platform.platform()}, {platform.processor()}, numpy {np.__version__}, {size}")
    if size.peers:
        result: dict[str, object] = dict(
            compare(size, arguments.repeats, arguments.backends, clock)
        )
    else:
        result = scale_targets(size, clock)
    print(json.dumps({"size": arguments.size, **result}))


if __name__ == "__main__":
    main()
