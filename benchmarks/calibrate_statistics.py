"""Choose intervals and tests of order on simulated data, where the truth is known.

    python benchmarks/calibrate_statistics.py intervals --out results/calibration
    python benchmarks/calibrate_statistics.py order --out results/calibration
    python benchmarks/calibrate_statistics.py magnitude --out results/calibration --seeds 4
    python benchmarks/calibrate_statistics.py models --out results/calibration --seeds 2000
    python benchmarks/calibrate_statistics.py contrasts --out results/calibration --seeds 1000
    python benchmarks/calibrate_statistics.py latencies --out results/calibration --seeds 300
    python benchmarks/calibrate_statistics.py table --out results/calibration

Every finished cell is a line of a file in the folder, and is not run again but with more seeds.
`table` prints what is there as Markdown. Seeds of the data are those of the cell; nothing of the
truth is read by a test.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
from scipy import stats
from sklearn.linear_model import RidgeCV

from gradbrain.encoding.bands import make_band
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.splits import grouped_folds
from gradbrain.hierarchy.best_layer_scores import at_best_layer, at_best_layer_without
from gradbrain.hierarchy.correlation import correlation_with
from gradbrain.hierarchy.model_contrasts import FEWEST_PAIRS, jackknife_mean, two_sided
from gradbrain.hierarchy.order import draw_correlations, order_test
from gradbrain.hierarchy.spatial import best_layer_depth, spatial_correlation
from gradbrain.hierarchy.statistics import (
    TestResult,
    bootstrap_test,
    crossed_mean,
    sign_flip_test,
    strictest,
)
from gradbrain.hierarchy.temporal import (
    exceeds_null,
    jackknifed,
    peak_lag,
    peak_time,
    temporal_correlation,
)

N_FOLDS = 5
N_LAYERS = 5
N_FEATURES = 10
DEPTHS = np.linspace(0.2, 1.0, N_LAYERS)
PENALTY = 30.0
N_DRAWS = 100


# Intervals: repeated studies of one world.


@dataclass(frozen=True)
class IntervalCell:
    """A kind of study that is repeated.

    Attributes
    ----------
    axis
        ``roi``: five regions of eight targets; ``time``: 16 times of four sensors.
    n_groups, per_group
        Groups of images, and images in each.
    people
        People, who see the same images.
    population
        Whether people are drawn anew in each study, or their weights stay.
    explained
        Share of a response's variance that the features explain.
    """

    axis: str
    n_groups: int
    per_group: int
    people: int
    population: bool
    explained: float

    @property
    def n_units(self) -> int:
        """Regions or times."""
        return 5 if self.axis == "roi" else 16

    @property
    def n_targets(self) -> int:
        """Targets of each."""
        return 8 if self.axis == "roi" else 4


INTERVAL_CELLS = [
    IntervalCell(axis, groups, per, people, people > 2, explained)
    for explained in (0.3, 0.1)
    for axis in ("roi", "time")
    for groups, per in ((18, 5), (92, 1), (250, 1))
    for people in (6, 15, 2)
]
TIMES = 0.02 * np.arange(1, 17)


class Study:
    """One simulated study: images, people, responses; and what is computed of it."""

    def __init__(self, cell: IntervalCell, seed: int):
        self.cell = cell
        random = np.random.default_rng([seed, 1])
        people = np.random.default_rng([seed, 2]) if cell.population else np.random.default_rng(7)
        n = cell.n_groups * cell.per_group
        self.groups = np.repeat(np.arange(cell.n_groups), cell.per_group).astype(str)

        def features() -> np.ndarray:
            """Images of a group share half of their variance."""
            shared = random.standard_normal((cell.n_groups, N_FEATURES))
            own = random.standard_normal((n, N_FEATURES))
            if cell.per_group == 1:
                return own
            return (np.repeat(shared, cell.per_group, axis=0) + own) / np.sqrt(2)

        layers = [features()]
        for _ in range(N_LAYERS - 1):
            layers.append(0.7 * layers[-1] + 0.714 * features())
        self.layers = layers
        self.signals = [features() for _ in range(N_LAYERS)]
        shape = (cell.people, cell.n_units, cell.n_targets)
        gains = self._gains(people)
        explained = np.zeros((n, *shape))
        for place, sources in enumerate((self.layers, self.signals)):
            for layer, values in enumerate(sources):
                weights = people.standard_normal((N_FEATURES, *shape)) / np.sqrt(N_FEATURES)
                scale = np.sqrt(gains[place][:, :, layer])[..., None]
                explained += np.tensordot(values, weights, axes=1) * scale
        # What no feature predicts but people share, and what is a person's own.
        latent = np.tensordot(features(), people.standard_normal((N_FEATURES, *shape)), axes=1)
        noise = np.sqrt(0.3 / N_FEATURES) * latent
        noise += np.sqrt(0.7) * random.standard_normal((n, *shape))
        responses = np.sqrt(cell.explained) * explained + np.sqrt(1 - cell.explained) * noise
        self.responses = responses.reshape(n, -1)

    def _gains(self, people: np.random.Generator) -> list[np.ndarray]:
        """Share of activations and signals in the explained variance, (person, unit, layer)."""
        cell = self.cell
        jitter = 0.5 * people.standard_normal((cell.people, 1, 1))
        order = np.arange(N_LAYERS)
        if cell.axis == "roi":
            place = np.arange(cell.n_units)[None, :, None]
            own = np.exp(-((place - order + jitter) ** 2))
            late = np.broadcast_to(place == 3, own.shape) * 0.3
        else:
            now = TIMES[None, :, None]
            own = np.exp(-(((now - 0.08 - 0.02 * order - 0.01 * jitter) / 0.04) ** 2))
            late = 0.5 * np.exp(-(((now - 0.14 - 0.02 * order - 0.01 * jitter) / 0.04) ** 2))
        total = np.maximum((own + late).sum(-1, keepdims=True), 1.0)
        return [own / total, np.broadcast_to(late, own.shape) / total]

    def folds(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Scores of every fold: (fit, person, unit) itself and with a leading axis of draws.

        Fits: every layer, every signal, all layers and, in the last place, all layers and the
        third signal.
        """
        everything = np.concatenate(self.layers, axis=1)
        sources = [*self.layers, *self.signals, everything]
        sources.append(np.concatenate([everything, self.signals[3]], axis=1))
        if self.cell.axis == "roi":
            sources = [*self.layers, *sources[-2:]]
        else:
            sources = sources[: 2 * N_LAYERS]
        fold = grouped_folds(self.groups, N_FOLDS, 0)
        for number in range(N_FOLDS):
            test, train = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            counts = draw_images(self.groups[test], N_DRAWS, 0, number).counts
            weights = np.concatenate([np.ones((1, len(test))), counts]).astype(float)
            target = self.responses - self.responses[train].mean(0)
            found = []
            for place, values in enumerate(sources):
                centred = values - values[train].mean(0)
                kernel = centred[train].T @ centred[train]
                kernel += PENALTY * np.eye(values.shape[1])
                predicted = centred[test] @ np.linalg.solve(
                    kernel, centred[train].T @ target[train]
                )
                both = self.cell.axis == "roi" and place >= N_LAYERS
                found.append(self._by_unit(_scores(target[test], predicted, weights, r2=both)))
            scores = np.stack(found, axis=1)
            yield scores[0], scores[1:]

    def _by_unit(self, scores: np.ndarray) -> np.ndarray:
        cell = self.cell
        return scores.reshape(-1, cell.people, cell.n_units, cell.n_targets).mean(-1)


def _scores(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray, *, r2: bool) -> np.ndarray:
    """r, or R², of every target (last axis) under every row of weights."""
    total = weights.sum(1, keepdims=True)
    yy = weights @ y**2
    if r2:
        return 1 - (weights @ (y - predicted) ** 2) / yy
    y_sum, p_sum = weights @ y, weights @ predicted
    covariance = weights @ (y * predicted) - y_sum * p_sum / total
    variances = (yy - y_sum**2 / total) * (weights @ predicted**2 - p_sum**2 / total)
    return np.where(variances > 1e-12, covariance / np.sqrt(np.maximum(variances, 1e-12)), 0.0)


def statistics_of(cell: IntervalCell, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of each person, shape (..., person), of scores (..., fit, person, unit)."""
    by_person = np.moveaxis(scores, -3, -2)  # (..., person, fit, unit)
    layers = by_person[..., :N_LAYERS, :]
    if cell.axis == "roi":
        names = [str(unit) for unit in range(cell.n_units)]
        distances = {name: float(place) for place, name in enumerate(names)}
        depth = best_layer_depth(layers, DEPTHS, "argmax")
        mass = best_layer_depth(layers, DEPTHS, "centre_of_mass")
        return {
            "r": layers[..., 2, 2],
            "unique R²": by_person[..., N_LAYERS + 1, 3] - by_person[..., N_LAYERS, 3],
            "spatial_r, argmax": spatial_correlation(depth, names, distances),
            "spatial_r, centre of mass": spatial_correlation(mass, names, distances),
        }
    before = peak_time(layers, TIMES, 0.95)
    after = peak_time(by_person[..., N_LAYERS:, :], TIMES, 0.95)
    return {
        "temporal_r": temporal_correlation(before, DEPTHS),
        "lag, ms": 1000 * peak_lag(after, before),
    }


def intervals_of(
    cell: IntervalCell, values: np.ndarray, boot: np.ndarray, wide: np.ndarray, folds: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Candidates: of (person,), (draw, person), the same from widened scores, (fold, person)."""
    n = len(values)
    centre = values.mean()
    random = np.random.default_rng(0)
    if cell.population:
        people = random.integers(n, size=(1000, n))
        means = boot[random.integers(len(boot), size=(1000, 1)), people].mean(1)
        spread, degrees = values.var(ddof=1) / n, n - 1
    else:
        means = boot.mean(1)
        spread, degrees = 0.0, cell.n_groups - 1
    low, high = np.quantile(means, [0.025, 0.975])
    images = boot.mean(1).var(ddof=1)
    # What people share of it; the rest is in their spread already.
    shared = images
    if cell.population:
        shared = max(0.0, (n * images - boot.var(axis=0, ddof=1).mean()) / (n - 1))
    corrected = 2.0 * cell.n_groups / (cell.n_groups - N_FOLDS)
    per_fold = folds.mean(1).var(ddof=1) * (1 / N_FOLDS + 1 / (N_FOLDS - 1))

    def t(variance: float, df: int) -> tuple[float, float]:
        half = stats.t.ppf(0.975, df) * np.sqrt(variance)
        return centre - half, centre + half

    return {
        "percentile": (low, high),
        "t, draws": t(spread + images, degrees),
        "t, draws × √G/(G−K)": t(spread + images * corrected / 2, degrees),
        "t, draws × √2G/(G−K)": t(spread + images * corrected, degrees),
        "two-way t": t(spread + shared * corrected, degrees),
        "t, widened scores": t(spread + wide.mean(1).var(ddof=1), degrees),
        "t over folds": t(spread + per_fold, min(degrees, N_FOLDS - 1)),
    }


def run_intervals(cell: IntervalCell, n_seeds: int) -> dict[str, Any]:
    """Repeat a study and count how often each interval holds the mean over studies."""
    observed: dict[str, list[float]] = {}
    bounds: dict[str, dict[str, list[tuple[float, float]]]] = {}
    factor = np.sqrt(2.0 * cell.n_groups / (cell.n_groups - N_FOLDS))
    for seed in range(n_seeds):
        points, draws = zip(*Study(cell, seed).folds(), strict=True)
        point, draw = np.mean(points, axis=0), np.mean(draws, axis=0)
        wide = draw.mean(0) + factor * (draw - draw.mean(0))
        levels = [statistics_of(cell, level) for level in (point, draw, wide, np.stack(points))]
        for name, values in levels[0].items():
            if not np.isfinite(values).all():
                continue
            rest = [np.nan_to_num(level[name], nan=values.mean()) for level in levels[1:]]
            observed.setdefault(name, []).append(values.mean())
            for way, found in intervals_of(cell, values, *rest).items():
                bounds.setdefault(name, {}).setdefault(way, []).append(found)
    result: dict[str, Any] = {}
    for name, seen in observed.items():
        truth = np.mean(seen)
        result[name] = {"truth": truth, "seeds": len(seen)}
        for way, pairs in bounds[name].items():
            low, high = np.array(pairs).T
            result[name][way] = {
                "coverage": float(np.mean((low <= truth) & (truth <= high))),
                "width": float(np.median(high - low)),
            }
    return result


# Orders: maps of best layers that six people share.


@dataclass(frozen=True)
class OrderCell:
    """A kind of map.

    Attributes
    ----------
    n_places
        Regions.
    length
        Distance over which what regions have in common falls to 1/e, in steps from one to the
        next; 0: they have nothing in common.
    kind
        ``free``: each region has a best layer of its own; ``smooth``: neighbours have similar
        ones, as they have similar scores; ``planted``: it rises with distance.
    """

    n_places: int
    length: float
    kind: str


ORDER_CELLS = [
    OrderCell(n_places, length, kind)
    for n_places in (4, 6, 8, 12)
    for length, kind in (
        *((0.0, "free"), (2.0, "free"), (2.0, "smooth")),
        *((0.0, "planted"), (2.0, "planted")),
    )
]
ORDER_DEPTHS = np.linspace(1 / 7, 1, 7)
N_PEOPLE = 6


def _mixing(n: int, length: float) -> np.ndarray:
    """Factor of the covariance of neighbours."""
    if not length:
        return np.eye(n)
    place = np.arange(n)
    covariance = np.exp(-np.abs(place[:, None] - place) / length)
    return np.linalg.cholesky(covariance + 1e-9 * np.eye(n))


def run_order(cell: OrderCell, n_seeds: int) -> dict[str, Any]:
    """Share of maps that pass people's signs alone, and with free and with smooth permutations."""
    n, layers, regions = cell.n_places, _mixing(7, 2.0), _mixing(cell.n_places, cell.length)
    found: dict[str, list[TestResult]] = {}

    def along(values: np.ndarray) -> np.ndarray:
        return correlation_with(np.arange(n, dtype=float), values)

    for seed in range(n_seeds):
        random = np.random.default_rng(seed)

        def noise(*shape: int, random: np.random.Generator = random) -> np.ndarray:
            return layers @ random.standard_normal((*shape, 7, n)) @ regions.T

        if cell.kind == "free":
            common = random.uniform(0.1, 1, n)
        elif cell.kind == "smooth":
            ranks = (regions @ random.standard_normal(n)).argsort().argsort()
            common = 0.1 + 0.9 * ranks / (n - 1)
        else:
            common = np.linspace(0.2, 1, n) + 0.1 * random.standard_normal(n)
        own = common + 0.08 * random.standard_normal((N_PEOPLE, n))
        scores = np.exp(-(((ORDER_DEPTHS[:, None] - own[:, None]) / 0.3) ** 2))
        scores += 0.15 * (noise(1) + noise(N_PEOPLE)) / np.sqrt(2)
        null = 0.15 * (noise(200, 1) + noise(200, N_PEOPLE)) / np.sqrt(2)
        maps = best_layer_depth(scores, ORDER_DEPTHS, "argmax")
        # (person, layer, draw, region) -> how alike regions are.
        alike = draw_correlations(null.transpose(1, 2, 0, 3)).mean(axis=(0, 1))
        signs = sign_flip_test(along(maps))
        free, smooth = (order_test(maps, along, matrix) for matrix in (np.eye(n), alike))
        tests = {
            "people": signs,
            "people and free permutations": strictest([signs, free]),
            "people and smooth permutations": strictest([signs, smooth]),
        }
        for name, result in tests.items():
            found.setdefault(name, []).append(result)
    return {
        name: {
            "supported": float(np.mean([result.p <= 0.05 for result in results])),
            "contradicted": float(np.mean([result.p_opposite <= 0.05 for result in results])),
            "p_min": float(np.median([result.p_min for result in results])),
        }
        for name, results in found.items()
    }


def order_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Shares of maps, and the smallest p that the test could give."""
    ways = list(rows[0]["result"])
    yield "| map | regions | neighbours | " + " | ".join(ways) + " |"
    yield "|---|---|---|" + "---|" * len(ways)
    for row in rows:
        cell = row["cell"]
        shares = [
            f"{found['supported']:.3f}, {found['contradicted']:.3f} ({found['p_min']:.3f})"
            for found in row["result"].values()
        ]
        alike = f"{np.exp(-1 / cell['length']):.2f}" if cell["length"] else "0"
        yield f"| {cell['kind']} | {cell['n_places']} | {alike} | " + " | ".join(shares) + " |"


# Magnitude: how much of a band's variance its logarithm has.


@dataclass(frozen=True)
class MagnitudeCell:
    """Responses that follow direction and magnitude of a signal.

    Attributes
    ----------
    n_train
        Training images.
    n_features
        Features of the direction.
    of_magnitude
        Share of what is predictable that follows the log magnitude; the rest follows the direction.
    """

    n_train: int
    n_features: int
    of_magnitude: float


MAGNITUDE_CELLS = [
    MagnitudeCell(n_train, n_features, of_magnitude)
    for n_train in (74, 250, 1000)
    for n_features in (48, 1024)
    for of_magnitude in (0.0, 0.1, 0.5, 1.0)
]
EXPLAINED = 0.3
# Share of the band's variance; 0: one column like the others; None: no such column.
MAGNITUDE_SHARES = (None, 0.0, 0.02, 0.05, 0.1, 0.2, 0.5)


def run_magnitude(cell: MagnitudeCell, n_seeds: int) -> dict[str, Any]:
    """Held-out R² by the share of the band's variance that the log magnitude has."""
    found: dict[str, list[float]] = {}
    n_train, n_images, n_targets = cell.n_train, cell.n_train + 1000, 100
    for seed in range(n_seeds):
        random = np.random.default_rng(seed)
        latents = random.standard_normal((n_images, min(cell.n_features, 400)))
        # Spectrum of the covariance 1/k.
        latents *= np.arange(1, latents.shape[1] + 1) ** -0.5
        direction = latents @ random.standard_normal((latents.shape[1], cell.n_features))
        direction = stats.zscore(direction)
        log_magnitude = random.standard_normal((n_images, 1))
        driven = stats.zscore(direction @ random.standard_normal((cell.n_features, n_targets)))
        driven = np.sqrt(1 - cell.of_magnitude) * driven
        driven += np.sqrt(cell.of_magnitude) * log_magnitude
        noise = random.standard_normal((n_images, n_targets))
        responses = np.sqrt(EXPLAINED) * driven + np.sqrt(1 - EXPLAINED) * noise
        for share in MAGNITUDE_SHARES:
            count = 0
            if share is not None:
                count = max(1, round(cell.n_features * share / (1 - share)))
            values = np.concatenate([direction, np.repeat(log_magnitude, count, axis=1)], axis=1)
            band = make_band(values[:n_train], values[n_train:])
            ridge = RidgeCV(np.logspace(0, 8, 17), alpha_per_target=True)
            ridge.fit(band.train, responses[:n_train])
            name = {None: "direction alone", 0.0: "one column"}.get(share, f"{share}")
            found.setdefault(name, []).append(ridge.score(band.test, responses[n_train:]))
    return {name: float(np.mean(scores)) for name, scores in found.items()}


def magnitude_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Held-out R² by the share of the band's variance."""
    ways = list(rows[0]["result"])
    yield "| images | features | follows magnitude | " + " | ".join(ways) + " |"
    yield "|---|---|---|" + "---|" * len(ways)
    for row in rows:
        scores = " | ".join(f"{score:.3f}" for score in row["result"].values())
        yield "| " + " | ".join(str(value) for value in row["cell"].values()) + f" | {scores} |"


# Models: tests of a mean over people and models.


@dataclass(frozen=True)
class ModelsCell:
    """People and models without any effect on average.

    Attributes
    ----------
    people, models
        How many of each; every person is predicted from every model.
    of_people, of_models, of_both
        Standard deviation of what a person has with all models, a model with all people, and a
        person with a model.
    """

    people: int
    models: int
    of_people: float
    of_models: float
    of_both: float


MODELS_CELLS = [
    ModelsCell(people, models, *spread)
    for people in (6, 15)
    for models in (5, 8)
    for spread in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.5), (0.0, 1.0, 0.5), (1.0, 1.0, 0.5))
]


def run_models(cell: ModelsCell, n_seeds: int) -> dict[str, Any]:
    """Share of studies at p ≤ .05 though there is no effect."""
    found: dict[str, list[bool]] = {}
    for seed in range(n_seeds):
        random = np.random.default_rng(seed)
        values = (
            cell.of_people * random.standard_normal((cell.people, 1))
            + cell.of_models * random.standard_normal((1, cell.models))
            + cell.of_both * random.standard_normal((cell.people, cell.models))
        )
        people, models = (sign_flip_test(values.mean(axis=axis)) for axis in (1, 0))
        tests = {
            "flips of people": people.p,
            "flips of models": models.p,
            "stricter of both": strictest([people, models]).p,
            "crossed t": crossed_mean(values).test.p,
        }
        for name, p in tests.items():
            found.setdefault(name, []).append(p <= 0.05)
    return {name: float(np.mean(passed)) for name, passed in found.items()}


def models_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Share of studies without effect at p ≤ .05."""
    ways = list(rows[0]["result"])
    yield "| people | models | sd of people | of models | of both | " + " | ".join(ways) + " |"
    yield "|---|---|---|---|---|" + "---|" * len(ways)
    for row in rows:
        shares = " | ".join(f"{share:.3f}" for share in row["result"].values())
        yield "| " + " | ".join(str(value) for value in row["cell"].values()) + f" | {shares} |"


# Contrasts: pairs of models at layers that other people choose.


@dataclass(frozen=True)
class ContrastCell:
    """Pairs of models that are worth the same to people.

    Attributes
    ----------
    world
        ``level``: all layers predict the same, or nothing; ``peaked``: each model has a best layer,
        of the same height.
    people, pairs
        How many.
    layers
        Of the second model of each pair; the first has five.
    of_pairs
        Standard deviation of a pair's own effect, in units of the noise of a score: models differ,
        but not on average.
    effect
        What first models are worth more, in the same units.
    """

    world: str
    people: int
    pairs: int
    layers: int
    of_pairs: float = 0.0
    effect: float = 0.0


CONTRAST_CELLS = [
    ContrastCell(world, people, pairs, layers)
    for world in ("level", "peaked")
    for people in (6, 15)
    for pairs in (1, 5)
    for layers in (5, 22)
]
CONTRAST_CELLS += [
    ContrastCell("peaked", people, pairs, N_LAYERS, 1.0) for people in (6, 15) for pairs in (3, 8)
]
CONTRAST_CELLS += [
    ContrastCell("peaked", people, pairs, N_LAYERS, 0.0, 1.0)
    for people in (6, 15)
    for pairs in (1, 5)
]
N_REGIONS = 5


def _scores_of_model(cell: ContrastCell, layers: int, random: np.random.Generator) -> np.ndarray:
    """Scores (person, layer, region): what people share, and noise that neighbours share."""
    shape = (cell.people, layers, N_REGIONS)
    mixing = _mixing(layers, 0.2 * layers)
    noise = np.einsum("kl,plr->pkr", mixing, random.standard_normal(shape))
    depth = np.linspace(0, 1, layers)[:, None]
    peak = np.exp(-(((depth - random.choice(depth[:, 0], N_REGIONS)) / 0.4) ** 2))
    return noise + (10.0 * peak if cell.world == "peaked" else 0.0)


def run_contrasts(cell: ContrastCell, n_seeds: int) -> dict[str, Any]:
    """Share of studies at p ≤ .05, two-sided, though sides are worth the same on average."""
    found: dict[str, list[float]] = {}
    for seed in range(n_seeds):
        random = np.random.default_rng(seed)
        values = np.empty((cell.people, cell.pairs))
        without = np.empty((cell.people, cell.people, cell.pairs))
        for pair in range(cell.pairs):
            own = cell.effect + cell.of_pairs * random.standard_normal()
            first, second = (
                _scores_of_model(cell, layers, random) for layers in (N_LAYERS, cell.layers)
            )
            values[:, pair] = (at_best_layer(first) - at_best_layer(second)).mean(axis=1) + own
            less = at_best_layer_without(first) - at_best_layer_without(second)
            without[..., pair] = less.mean(axis=-1) + own
        left_out = np.nanmean(without, axis=1)
        flips = sign_flip_test(values.mean(axis=1))
        jackknife = jackknife_mean(values, left_out).test
        tests = {
            "flips of people": flips,
            "jackknife t": jackknife,
            "stricter of both": strictest([flips, jackknife]),
        }
        if cell.pairs >= FEWEST_PAIRS:
            tests["crossed t"] = crossed_mean(values).test
            tests["crossed, jackknife"] = jackknife_mean(values, left_out, over_pairs=True).test
        for name, test in tests.items():
            found.setdefault(name, []).append(float(two_sided(test) <= 0.05))
        found.setdefault("mean difference", []).append(float(values.mean()))
    return {name: float(np.mean(passed)) for name, passed in found.items()}


def contrasts_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Share of studies without difference at p ≤ .05, and the mean difference."""
    ways = ["flips of people", "jackknife t", "stricter of both", "crossed t"]
    ways += ["crossed, jackknife", "mean difference"]
    head = ["world", "people", "pairs", "layers of b", "sd of pairs", "effect", *ways]
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for row in rows:
        shares = [f"{row['result'][way]:.3f}" if way in row["result"] else "" for way in ways]
        yield "| " + " | ".join([*map(str, row["cell"].values()), *shares]) + " |"


# Latencies: lags and orders of peaks in time courses with noise.


@dataclass(frozen=True)
class LatencyCell:
    """Time courses of a signal and of its activation, in six layers.

    Attributes
    ----------
    people
        Who see the same images.
    noise
        Standard deviation of a time course's noise, in units of the mean height of peaks.
    lag
        s by which signals follow activations, on average; a person's own has a standard deviation
        of 20 ms. The time courses of activations have one of their own as well.
    kind
        ``rising``: later layers peak later; ``arbitrary``: in an order that people share.
    """

    people: int
    noise: float
    lag: float
    kind: str


LATENCY_CELLS = [
    LatencyCell(people, noise, lag, kind)
    for people in (6, 15)
    for noise in (0.1, 0.2, 0.4, 0.8)
    for lag, kind in ((0.0, "arbitrary"), (0.02, "rising"), (0.04, "rising"))
]
LATENCY_TIMES = 0.02 * np.arange(1, 31)
LATENCY_LAYERS = 6
FRACTION = 0.95


def _courses(
    cell: LatencyCell, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of activation and signal: observed, and draws of resampled and of permuted images.

    Shapes (2, person, layer, time) and (2, person, draw, layer, time). Half of the noise is that of
    the images, which all people share.
    """
    depth = np.arange(LATENCY_LAYERS, dtype=float)
    peak = 0.12 + 0.03 * (depth if cell.kind == "rising" else random.permutation(depth))
    own = 0.02 * random.standard_normal((cell.people, 1, 1))
    height = np.exp(0.4 * random.standard_normal((cell.people, 1, 1)) - 0.08)
    lag = cell.lag + 0.02 * random.standard_normal((cell.people, 1, 1))
    distance = LATENCY_TIMES - peak[:, None] - own
    courses = height * np.exp(-np.square(np.stack([distance, distance - lag]) / 0.1) / 2)
    kernel = np.exp(-np.square(np.arange(-4, 5) / 2) / 2)
    kernel /= np.linalg.norm(kernel)

    def noise(*draws: int) -> np.ndarray:
        shared = random.standard_normal((2, 1, *draws, LATENCY_LAYERS, len(LATENCY_TIMES) + 8))
        alone = random.standard_normal((2, cell.people, *shared.shape[2:]))
        both = (shared + alone) / np.sqrt(2)
        return cell.noise * sum(
            weight * both[..., start : start + len(LATENCY_TIMES)]
            for start, weight in enumerate(kernel)
        )

    observed = courses + noise()
    return observed, observed[:, :, None] + noise(N_DRAWS), noise(N_DRAWS)


def _alone(courses: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Peak times (person, layer) of each person; NaN for layers that are not above chance."""
    passed = [
        exceeds_null(own, chance, LATENCY_TIMES) for own, chance in zip(courses, null, strict=True)
    ]
    return np.where(passed, peak_time(courses, LATENCY_TIMES, FRACTION), np.nan)


def _without_each(courses: np.ndarray) -> np.ndarray:
    """Peak times of averages over all people but one, for each of them, first axis."""
    others = (courses.sum(axis=0) - courses) / (len(courses) - 1)
    return peak_time(others, LATENCY_TIMES, FRACTION)


NO_TEST = TestResult(np.nan, np.nan, np.nan)


def _enough(cell: LatencyCell, known: np.ndarray) -> bool:
    return len(known) >= max(6, 2 / 3 * cell.people)


def _jackknife_tests(
    values: np.ndarray, draws: np.ndarray, *besides: TestResult
) -> dict[str, TestResult]:
    """Tests of what people have of averages (person,), and its draws (person, draw)."""
    if not np.isfinite(values).all():
        return dict.fromkeys(("jackknife, t", "jackknife", "jackknife and images"), NO_TEST)
    spread = max(values.std(ddof=1) / np.sqrt(len(values)), 1e-12)
    p = float(stats.t.sf(values.mean() / spread, len(values) - 1))
    signs, images = sign_flip_test(values), bootstrap_test(draws.mean(axis=0), 0.0)
    return {
        "jackknife, t": strictest([TestResult(p, 1 - p, 0.0), *besides]),
        "jackknife": strictest([signs, *besides]),
        "jackknife and images": strictest([signs, images, *besides]),
    }


def _lag_tests(
    cell: LatencyCell,
    alone: list[np.ndarray],
    others: list[np.ndarray],
    draws: list[np.ndarray],
) -> dict[str, TestResult]:
    """Of peaks (person, layer) of activation and signal; of people, of averages and on draws."""
    known = peak_lag(alone[1], alone[0])
    known = known[np.isfinite(known)]
    values, drawn = (jackknifed(peak_lag(peaks[1], peaks[0])) for peaks in (others, draws))
    return {
        "people": sign_flip_test(known) if _enough(cell, known) else NO_TEST,
        **_jackknife_tests(values, drawn),
    }


def _order_tests(
    cell: LatencyCell, alone: np.ndarray, others: np.ndarray, draws: np.ndarray
) -> dict[str, TestResult]:
    """Of peaks of the activation; all with layers permuted besides."""
    depths = np.linspace(1 / LATENCY_LAYERS, 1.0, LATENCY_LAYERS)

    def order(peaks: np.ndarray) -> np.ndarray:
        return temporal_correlation(peaks, depths)

    def layers(maps: np.ndarray) -> TestResult:
        return order_test(maps, order, np.eye(LATENCY_LAYERS))

    own = order(alone)
    known = np.isfinite(own)
    people = NO_TEST
    if _enough(cell, own[known]):
        people = strictest([sign_flip_test(own[known]), layers(alone[known])])
    values, drawn = jackknifed(order(others)), jackknifed(order(draws))
    permuted = layers(others) if np.isfinite(values).all() else NO_TEST
    return {"people": people, **_jackknife_tests(values, drawn, permuted)}


def run_latencies(cell: LatencyCell, n_seeds: int) -> dict[str, Any]:
    """Share of studies at p ≤ .05, by peaks of each person and by those of averages."""
    passed: dict[str, list[bool]] = {}
    for seed in range(n_seeds):
        courses, boot, null = _courses(cell, np.random.default_rng([seed, 3]))
        alone = [_alone(*one) for one in zip(courses, null, strict=True)]
        # Layers are those in which the average over all is above chance.
        masks = [
            exceeds_null(own.mean(axis=0), chance.mean(axis=0), LATENCY_TIMES)
            for own, chance in zip(courses, null, strict=True)
        ]
        others, draws = (
            [
                np.where(mask, _without_each(own), np.nan)
                for mask, own in zip(masks, values, strict=True)
            ]
            for values in (courses, boot)
        )
        tests = {
            f"{name}: {way}": found
            for name, ways in (
                ("lag", _lag_tests(cell, alone, others, draws)),
                ("order", _order_tests(cell, alone[0], others[0], draws[0])),
            )
            for way, found in ways.items()
        }
        for name, test in tests.items():
            passed.setdefault(name, []).append(bool(np.isfinite(test.p) and test.p <= 0.05))
    return {name: float(np.mean(found)) for name, found in passed.items()}


def latency_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Share of studies at p ≤ .05."""
    ways = list(rows[0]["result"])
    yield "| people | noise | lag (s) | peaks | " + " | ".join(ways) + " |"
    yield "|---|---|---|---|" + "---|" * len(ways)
    for row in rows:
        shares = " | ".join(f"{share:.3f}" for share in row["result"].values())
        yield "| " + " | ".join(str(value) for value in row["cell"].values()) + f" | {shares} |"


# Cells.


def run_cells(
    path: Path, cells: list[Any], run: Callable[[Any, int], dict[str, Any]], n_seeds: int
) -> None:
    """Run the cells that the file does not hold of as many seeds, and add each when it is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [row["cell"] for row in _rows(path) if row["seeds"] >= n_seeds]
    for cell in cells:
        if asdict(cell) in done:
            continue
        start = time.process_time()
        result = run(cell, n_seeds)
        seconds = time.process_time() - start
        row = {"cell": asdict(cell), "seeds": n_seeds, "result": result, "cpu_s": seconds}
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{cell}: {seconds:.0f} s of processor", file=sys.stderr)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _most_seeds(rows: list[dict[str, Any]], cells: list[Any]) -> list[dict[str, Any]]:
    """The row of every cell that was run, in their order; of several that of most seeds."""
    of_cells = [[row for row in rows if row["cell"] == asdict(cell)] for cell in cells]
    return [max(found, key=lambda row: row["seeds"]) for found in of_cells if found]


def interval_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Coverage and, in brackets, width relative to that of the percentile interval."""
    ways = [way for way in rows[0]["result"]["r"] if way not in ("truth", "seeds")]
    yield "| statistic | explained | groups × images | people | " + " | ".join(ways) + " |"
    yield "|---|---|---|---|" + "---|" * len(ways)
    for row in rows:
        cell = row["cell"]
        speaks = f"{cell['people']}{'' if cell['population'] else ', these'}"
        images = f"{cell['n_groups']} × {cell['per_group']}"
        for name, found in row["result"].items():
            cells = [
                f"{found[way]['coverage']:.3f} "
                f"({found[way]['width'] / found['percentile']['width']:.2f})"
                for way in ways
            ]
            head = f"| {name} | {cell['explained']} | {images} | {speaks} | "
            yield head + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = ("intervals", "order", "magnitude", "models", "contrasts", "latencies", "table")
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--cells", type=int, nargs="*", help="places of cells; else all")
    arguments = parser.parse_args()
    parts = {
        "intervals": (INTERVAL_CELLS, run_intervals, interval_tables),
        "order": (ORDER_CELLS, run_order, order_tables),
        "magnitude": (MAGNITUDE_CELLS, run_magnitude, magnitude_tables),
        "models": (MODELS_CELLS, run_models, models_tables),
        "contrasts": (CONTRAST_CELLS, run_contrasts, contrasts_tables),
        "latencies": (LATENCY_CELLS, run_latencies, latency_tables),
    }
    files = {name: arguments.out / f"{name}.jsonl" for name in parts}
    if arguments.what == "table":
        for name, (cells, _, tables) in parts.items():
            rows = _most_seeds(_rows(files[name]), cells)
            if rows:
                print(f"{len(rows)} cells, {sum(row['cpu_s'] for row in rows):.0f} s\n")
                print("\n".join(tables(rows)), end="\n\n")
        return
    cells, run, _ = parts[arguments.what]
    if arguments.cells:
        cells = [cells[place] for place in arguments.cells]
    run_cells(files[arguments.what], cells, run, arguments.seeds)


if __name__ == "__main__":
    main()
