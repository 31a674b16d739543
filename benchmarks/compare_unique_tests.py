"""Compare tests of what a signal explains beyond all activations, on simulated brains.

    python benchmarks/extract_unique_features.py ...     # once: activations and gradients
    python benchmarks/compare_unique_tests.py run --features results/unique/features.npz \
        --out results/unique/cells.jsonl --images 74 250
    python benchmarks/compare_unique_tests.py table --out results/unique/cells.jsonl
    python benchmarks/compare_unique_tests.py expected --features results/unique/features.npz

A cell is a number of images, a kind of signal, a share and a number of people. Each line of the
file is one finished cell with every candidate's rejections and mean; cells that are there are not
run again. `--part 0/2` takes every second cell, for two processes (with a file each).

Brains: targets of a region follow one layer's activations linearly (weights of equal variance for
every standardised feature, along the ten leading components, or five combinations that all targets
share) and, with a share above 0, the part of the gradient that activations do not predict: the
residual of a least-squares fit over all images. Explained variance .4. Seeds are brains with other
weights, layers and noise; they are targets of the same decompositions. Every seed has its own
penalties and band weights, shared by its targets.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
from scipy.stats import binomtest

from gradbrain.config.schema import EncodingSettings
from gradbrain.encoding.band_weights import BandWeights
from gradbrain.encoding.bands import Band, make_band
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.regression import BandFit, ClosedFormRegression
from gradbrain.encoding.solver import Search, penalty_grid
from gradbrain.encoding.splits import grouped_folds
from gradbrain.encoding.variance_components import (
    BaselineCovariance,
    centred_kernel,
    estimate_components,
    leading_kernel,
    novel_part,
    whiten,
)

LAYERS = ("blocks.1", "blocks.3", "blocks.5")
# Layers whose signals are tested, and which the regions follow.
TESTED = (1, 2)
EXPLAINED = 0.4
N_FOLDS = 5
N_TARGETS = 10
LEVEL = 0.05
# 18 points of the simplex of the baseline's three bands.
SETTINGS = EncodingSettings(n_simplex_draws=10, selection="gcv")
WEIGHTS = BandWeights.of(len(LAYERS), SETTINGS)
PENALTIES = penalty_grid(0.0, 8.0, 10)
# Weight of the signal relative to the baseline's total, where that is kept.
NESTED_RATIOS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# All targets of a region read the same five random combinations of its layer's features.
NARROW = ("mix_narrow", "nonlinear_narrow", "gradient_narrow")
NULLS = ("noise", "mix", "nonlinear", "gradient", "mix_leading", "gradient_leading", *NARROW)
SHARES = (0.05, 0.1, 0.2)
# Fits of several bands that are repeated for every draw.
REFITTED = ("present", "layers", "semipartial", "nested", "stacking")


@dataclass(frozen=True)
class Cell:
    """One line of the result."""

    n: int
    signal: str
    share: float
    people: int = 1


@dataclass(frozen=True)
class Effort:
    """What a cell computes.

    Attributes
    ----------
    designs
        Draws of images, signal and permutations; seeds are divided among them.
    seeds
        Brains, or groups of people.
    draws
        Of every null distribution.
    refits
        Null distributions with refits: rows of the signal, rows of its residual, surrogates of the
        baseline's prediction and of whitened responses.
    slow
        Whether nested and stacked fits are made.
    pool
        Seeds of one layer whose targets estimate a covariance together, as those of a region with
        ``pool * N_TARGETS`` targets.
    first_design
        Number of the first design: other numbers are other draws.
    """

    designs: int
    seeds: int
    draws: int
    refits: tuple[str, ...]
    slow: bool
    pool: int = 1
    first_design: int = 0


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1."""
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


@dataclass(frozen=True)
class World:
    """Features of all images.

    Attributes
    ----------
    photograph
        Shape (n_images,).
    activations, gradients
        Each of shape (n_images, n_features). By layer, standardised.
    novel
        Each of shape (n_images, n_features). Part of the gradients that a least-squares fit on all
        activations leaves.
    """

    photograph: np.ndarray
    activations: list[np.ndarray]
    gradients: list[np.ndarray]
    novel: list[np.ndarray]

    @classmethod
    def read(cls, path: Path) -> World:
        """Read what `extract_unique_features.py` wrote."""
        with np.load(path) as stored:
            activations = [standardised(stored[f"{layer}/activation"]) for layer in LAYERS]
            gradients = [standardised(stored[f"{layer}/cross_entropy"]) for layer in LAYERS]
            photograph = stored["photograph"]
        base = np.concatenate(activations, axis=1)
        novel = [g - base @ np.linalg.lstsq(base, g, rcond=None)[0] for g in gradients]
        return cls(photograph, activations, gradients, novel)

    def independent(self, n: int) -> World:
        """Images that share no photograph: normal draws with the covariance of all features."""
        widths = [x.shape[1] for x in (*self.activations, *self.gradients)]
        joined = np.concatenate([*self.activations, *self.gradients], axis=1)
        mixing = np.random.default_rng(0).standard_normal((n, len(joined)))
        drawn = np.split(mixing @ joined / np.sqrt(len(joined)), np.cumsum(widths)[:-1], axis=1)
        activations, gradients = drawn[: len(LAYERS)], drawn[len(LAYERS) :]
        base, real = (np.concatenate(x, axis=1) for x in (activations, self.activations))
        novel = [
            new - base @ np.linalg.lstsq(real, old, rcond=None)[0]
            for new, old in zip(gradients, self.gradients, strict=True)
        ]
        names = np.array([f"{number:06d}" for number in range(n)])
        return World(names, activations, gradients, novel)

    def choose(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Rows of n images: whole photographs, or as many crops of each as are needed."""
        names, first, count = np.unique(self.photograph, return_index=True, return_counts=True)
        each = -(-n // len(names))
        if each > count.min():
            raise SystemExit(f"{n} images of {len(names)} photographs need {each} crops of each")
        chosen = np.sort(generator.permutation(len(names))[: n // each])
        return (first[chosen][:, None] + np.arange(each)).ravel()

    def signal(self, kind: str, layer: int, generator: np.random.Generator) -> np.ndarray:
        """Signal of a layer for all images."""
        source = self.activations[layer]
        if kind.startswith("gradient"):
            return self.gradients[layer]
        if kind == "noise":
            return generator.standard_normal((len(source), 100))
        if kind.startswith("mix"):
            return source @ generator.standard_normal((source.shape[1], 30))
        if kind.startswith("nonlinear"):
            mixed = source @ generator.standard_normal((source.shape[1], 100))
            mixed /= np.sqrt(source.shape[1])
            return np.maximum(mixed + generator.standard_normal(100), 0.0)
        raise ValueError(kind)


def make_brains(
    world: World, rows: np.ndarray, cell: Cell, n_groups: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Responses (n_people · N_TARGETS, n_images) and the layer of every person's region.

    People of a group follow the same layer and share half of what nothing explains.
    """
    n, parts, layers = len(rows), [], []

    def unit(values: np.ndarray) -> np.ndarray:
        values = values - values.mean(axis=0)
        return values / values.std(axis=0)

    def read_out(features: np.ndarray) -> np.ndarray:
        return unit(features @ generator.standard_normal((features.shape[1], N_TARGETS)))

    for _ in range(n_groups):
        layer = int(generator.choice(TESTED))
        driving = world.activations[layer][rows]
        if cell.signal.endswith("leading"):
            left, scale, _ = np.linalg.svd(driving - driving.mean(axis=0), full_matrices=False)
            driving = (left * scale)[:, :10]
        if cell.signal in NARROW:
            driving = driving @ generator.standard_normal((driving.shape[1], 5))
        common = generator.standard_normal((n, N_TARGETS))
        for _ in range(cell.people):
            signal = np.sqrt(1.0 - cell.share) * read_out(driving)
            if cell.share:
                signal = signal + np.sqrt(cell.share) * read_out(world.novel[layer][rows])
            noise = generator.standard_normal((n, N_TARGETS))
            if cell.people > 1:
                noise = np.sqrt(0.5) * (noise + read_out(common))
            parts.append(np.sqrt(EXPLAINED) * signal + np.sqrt(1.0 - EXPLAINED) * noise)
            layers.append(layer)
    return np.concatenate(parts, axis=1).T, np.array(layers)


@dataclass
class SingleRidge:
    """Ridge of one feature space with its leave-one-out predictions."""

    left_out: np.ndarray
    predicted: np.ndarray


def single_ridge(
    train_kernel: np.ndarray,
    test_kernel: np.ndarray,
    responses: np.ndarray,
    groups: np.ndarray,
    *,
    leave_out: bool = True,
) -> SingleRidge:
    """Fit (n_targets, n_train), the penalty chosen per group of targets by GCV."""
    n = len(train_kernel)
    eigenvalues, basis = np.linalg.eigh(train_kernel)
    # Axes without features are neither fitted nor shrunk.
    spanned = eigenvalues > 1e-9 * eigenvalues[-1]
    eigenvalues, basis = eigenvalues[spanned], basis[:, spanned]
    coordinates = responses @ basis
    shrinkage = 1.0 / (eigenvalues + PENALTIES[:, None])
    free = 1.0 - ((eigenvalues * shrinkage).sum(axis=1) + 1.0) / n
    filters = (PENALTIES[:, None] * shrinkage) ** 2
    errors = (coordinates**2) @ (filters - 1.0).T + (responses**2).sum(axis=1)[:, None]
    errors = np.where(free > 1e-9, errors / np.maximum(free, 1e-9) ** 2, np.inf)
    totals = np.zeros((groups.max() + 1, len(PENALTIES)))
    np.add.at(totals, groups, errors)
    chosen = totals.argmin(axis=1)[groups]
    solved = coordinates * shrinkage[chosen]
    predicted = solved @ (test_kernel @ basis).T
    if not leave_out:
        return SingleRidge(responses, predicted)
    leverage = (basis**2) @ (eigenvalues * shrinkage).T + 1.0 / n
    residual = responses - (solved * eigenvalues) @ basis.T
    left_out = responses - residual / np.maximum(1.0 - leverage.T[chosen], 1e-6)
    return SingleRidge(left_out, predicted)


def stack(fits: Sequence[SingleRidge], responses: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Held-out prediction, non-negative weights per group fitted to left-out predictions."""
    k, n_groups = len(fits), groups.max() + 1
    gram, right = np.zeros((n_groups, k, k)), np.zeros((n_groups, k))
    for i, first in enumerate(fits):
        np.add.at(right[:, i], groups, (first.left_out * responses).sum(axis=1))
        for j, second in enumerate(fits):
            np.add.at(gram[:, i, j], groups, (first.left_out * second.left_out).sum(axis=1))
    best, weights = np.zeros(n_groups), np.zeros((n_groups, k))
    # Few bands: every set of them is tried, which is exact.
    for size in range(1, k + 1):
        for subset in map(list, combinations(range(k), size)):
            part = gram[:, subset][:, :, subset] + 1e-9 * np.eye(size)
            solved = np.linalg.solve(part, right[:, subset][:, :, None])[:, :, 0]
            gained = np.where((solved >= 0).all(axis=1), (solved * right[:, subset]).sum(1), 0.0)
            better = gained > best
            best[better] = gained[better]
            weights[better] = 0.0
            weights[np.ix_(better, subset)] = solved[better]
    return sum(weights[groups, i][:, None] * fit.predicted for i, fit in enumerate(fits))


class Nested:
    """A band beside a baseline whose band weights and penalty are kept."""

    def __init__(self, bands: Sequence[Band], fit: BandFit, responses: np.ndarray):
        self._bands, self._responses = bands, responses
        settings = np.vstack([fit.band_weights, fit.log10_penalty]).T.round(9)
        rows, self._of_target = np.unique(settings, axis=0, return_inverse=True)
        self._of_target = self._of_target.ravel()
        self._roots = []
        for row in rows:
            scale = row[:-1] / 10 ** row[-1]
            kernel = sum(w * band.train_kernel for w, band in zip(scale, bands, strict=True))
            test = sum(w * band.test_kernel for w, band in zip(scale, bands, strict=True))
            values, vectors = np.linalg.eigh(kernel + np.eye(len(kernel)))
            root = (vectors / np.sqrt(values)) @ vectors.T
            self._roots.append((root, test, responses @ root, scale.sum()))

    def predict(self, signal: Band, groups: np.ndarray) -> np.ndarray:
        """Held-out prediction; the signal's weight is chosen per group of targets by GCV."""
        n = len(signal.train)
        found = np.empty((len(self._responses), len(signal.test)))
        for number, (root, test, whitened, scale) in enumerate(self._roots):
            targets = np.flatnonzero(self._of_target == number)
            names, members = np.unique(groups[targets], return_inverse=True)
            values, vectors = np.linalg.eigh(root @ signal.train_kernel @ root)
            back = root @ vectors
            coordinates = whitened[targets] @ vectors
            traces = (back**2).sum(axis=0)
            best = np.full(len(names), np.inf)
            for ratio in NESTED_RATIOS:
                weight = ratio * scale
                filters = 1.0 / (1.0 + weight * np.maximum(values, 0.0))
                dual = (coordinates * filters) @ back.T
                free = (traces * filters).sum() - 1.0
                errors = np.zeros(len(names))
                np.add.at(errors, members, (dual**2).sum(axis=1) / free**2 * n)
                better = errors < best
                best[better] = errors[better]
                chosen = better[members]
                found[targets[chosen]] = dual[chosen] @ (test + weight * signal.test_kernel).T
        return found


class FoldFits:
    """Fits of one outer fold for some responses; the signal can be exchanged."""

    def __init__(
        self,
        activations: Sequence[np.ndarray],
        responses: np.ndarray,
        groups: np.ndarray,
        train: np.ndarray,
        test: np.ndarray,
        *,
        slow: bool,
    ):
        self.train, self.test, self._groups, self._slow = train, test, groups, slow
        scale = responses[:, train].std(axis=1, keepdims=True)
        scale = np.where(scale > 1e-6, scale, 1.0)
        mean = responses[:, train].mean(axis=1, keepdims=True)
        self.held_in = np.ascontiguousarray((responses[:, train] - mean) / scale)
        self.held_out = (responses[:, test] - mean) / scale
        self._scale = scale
        self._bands = {i: make_band(x[train], x[test]) for i, x in enumerate(activations)}
        joined = np.concatenate(activations, axis=1)
        self._bands["all"] = make_band(joined[train], joined[test])
        search = Search(penalties=PENALTIES, target_groups=groups)
        self._fits = ClosedFormRegression(
            self._bands, self.held_in, search, SETTINGS.n_band_weights
        )
        self._layers = tuple(range(len(activations)))
        self.base = self._fits.mixture(self._layers, WEIGHTS.base)
        self.joined = self._fits.single("all").prediction
        if slow:
            bands = [self._bands[i] for i in self._layers]
            self._nested = Nested(bands, self.base, self.held_in)
            self._singles = [
                single_ridge(band.train_kernel, band.test_kernel, self.held_in, groups)
                for band in bands
            ]
            self.stacked = stack(self._singles, self.held_in, groups)

    @property
    def residual(self) -> np.ndarray:
        """What the baseline of several bands leaves of the held-out responses, in their units."""
        return (self.held_out - self.base.prediction) * self._scale

    @property
    def predicted(self) -> np.ndarray:
        """Held-out prediction of that baseline, in units of the responses, about the mean."""
        return self.base.prediction * self._scale

    def reweighted(self) -> list[np.ndarray]:
        """All activations with a layer's own once more."""
        return [self._fits.pair("all", layer).prediction for layer in TESTED]

    def full(self, signal: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Candidate -> (prediction of the baseline, with the signal)."""
        band = make_band(signal[self.train], signal[self.test], allow_constant=True)
        self._bands["signal"] = band
        self._fits.forget("signal")
        found = {
            "present": (self.joined, self._fits.pair("all", "signal").prediction),
            "layers": (
                self.base.prediction,
                self._fits.extension(self._layers, "signal", WEIGHTS).prediction,
            ),
        }
        if self._slow:
            found["nested"] = self.base.prediction, self._nested.predict(band, self._groups)
            added = single_ridge(band.train_kernel, band.test_kernel, self.held_in, self._groups)
            fits = [*self._singles, added]
            found["stacking"] = self.stacked, stack(fits, self.held_in, self._groups)
        return found


class Sums:
    """Squares over folds, from which gains in R² and semi-partial correlations follow."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}

    def add(self, name: str, observed: np.ndarray, base: np.ndarray, full: np.ndarray) -> None:
        """Take up a fold; arrays (n_targets, n_test)."""
        left = observed - base
        added = full - base
        centred = added - added.mean(axis=1, keepdims=True)
        about = left - left.mean(axis=1, keepdims=True)
        part = np.stack(
            [
                (left**2).sum(1),
                ((observed - full) ** 2).sum(1),
                (observed**2).sum(1),
                (centred * about).sum(1),
                (centred**2).sum(1),
                (about**2).sum(1),
            ]
        )
        self._sums[name] = self._sums.get(name, 0.0) + part

    def gain(self, name: str) -> np.ndarray:
        """Gain in R² of every target."""
        base, full, total, *_ = self._sums[name]
        return (base - full) / total

    def semipartial(self, name: str) -> np.ndarray:
        """Correlation between the added prediction and the baseline's residual."""
        *_, product, added, left = self._sums[name]
        squares = np.sqrt(added * left)
        return np.divide(product, squares, out=np.zeros_like(product), where=squares > 1e-12)


def by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Means over the targets of a group."""
    return np.bincount(groups, weights=values) / np.bincount(groups)


def whitened_surrogates(
    baseline: Sequence[np.ndarray],
    weights: np.ndarray,
    responses: np.ndarray,
    permutations: np.ndarray,
) -> Iterator[np.ndarray]:
    """Make responses that follow the baseline as much as the real ones, and nothing else.

    Whitened by the covariance that the baseline gives, permuted over images, and coloured again:
    the null of any statistic, refitted on them. A baseline's held-out prediction with permuted
    residuals would do so with too small a share of the baseline, since ridge shrinks it.

    Parameters
    ----------
    baseline
        Kernels (n_images, n_images), centred, mean diagonal 1.
    weights
        As `estimate_components` gives them (n_kernels + 1,).
    responses
        (n_targets, n_images).
    permutations
        (n_draws, n_images).

    Yields
    ------
    array of shape (n_targets, n_images)
        Centred; one per permutation, the same for all targets.
    """
    root = whiten(baseline, weights).root
    colour = np.linalg.inv(root)
    white = (responses - responses.mean(axis=1, keepdims=True)) @ root
    for order in permutations:
        yield white[:, order] @ colour


class Design:
    """One choice of images, signals and permutations, with all brains that are looked at."""

    def __init__(self, world: World, cell: Cell, effort: Effort, number: int):
        self.cell, self.effort = cell, effort
        # One seed per cell and design, whatever else is run.
        names = (*NULLS, "share")
        key = [cell.n, names.index(cell.signal), int(cell.share * 100), cell.people, number]
        generator = np.random.default_rng(key)
        rows = world.choose(cell.n, generator)
        self.photographs = world.photograph[rows]
        self.activations = [x[rows] for x in world.activations]
        kind = "gradient" if cell.share else cell.signal
        self.signals = [world.signal(kind, layer, generator)[rows] for layer in TESTED]
        n_groups = effort.seeds // effort.designs
        self.responses, self.layers = make_brains(world, rows, cell, n_groups, generator)
        self.groups = np.repeat(np.arange(len(self.layers)), N_TARGETS)
        folds = grouped_folds(self.photographs, N_FOLDS, number)
        self.splits = [
            (np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
            for fold in range(N_FOLDS)
        ]
        draws = draw_images(self.photographs, effort.draws, number, 0)
        self.permutations = draws.permutations
        self.seconds: dict[str, float] = {}

    def folds(self, responses: np.ndarray, groups: np.ndarray, *, slow: bool) -> list[FoldFits]:
        """Baselines of all folds."""
        return [
            FoldFits(self.activations, responses, groups, train, test, slow=slow)
            for train, test in self.splits
        ]

    def statistics(
        self, folds: Sequence[FoldFits], signals: Sequence[np.ndarray], groups: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Candidate -> (n_layers, n_groups): its mean over the targets of a group."""
        sums = Sums()
        for fold in folds:
            for place, signal in enumerate(signals):
                for name, (base, full) in fold.full(signal).items():
                    sums.add(f"{name}{place}", fold.held_out, base, full)
        found: dict[str, np.ndarray] = {}
        places = range(len(signals))
        for name in ("present", "layers", "nested", "stacking"):
            if f"{name}0" in sums._sums:
                gains = [by_group(sums.gain(f"{name}{p}"), groups) for p in places]
                found[name] = np.stack(gains)
        found["semipartial"] = np.stack(
            [by_group(sums.semipartial(f"layers{p}"), groups) for p in places]
        )
        return found

    def reweighting(self, folds: Sequence[FoldFits], groups: np.ndarray) -> np.ndarray:
        """Best layer's own gain, as `beyond_reweighting` takes it."""
        sums = Sums()
        for fold in folds:
            for place, full in enumerate(fold.reweighted()):
                sums.add(str(place), fold.held_out, fold.joined, full)
        gains = [by_group(sums.gain(str(p)), groups) for p in range(len(TESTED))]
        return np.max(gains, axis=0)

    def timed(self, name: str, started: float) -> None:
        """Add processor time to a name."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started

    def residualise(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What a cross-fitted baseline leaves of each signal, (n_images, n_columns)."""
        found = []
        for signal in values:
            columns = np.ascontiguousarray(standardised(signal).T)
            groups = np.zeros(len(columns), dtype=np.intp)
            left = np.empty_like(columns)
            for fold in self.folds(columns, groups, slow=False):
                left[:, fold.test] = fold.residual
            found.append(left.T)
        return found

    def run(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Candidate and null -> observed (n_layers, n_people), null (n_draws, ...)."""
        effort, groups = self.effort, self.groups
        start = time.process_time()
        folds = self.folds(self.responses, groups, slow=effort.slow)
        self.timed("baseline", start)
        start = time.process_time()
        observed = self.statistics(folds, self.signals, groups)
        self.timed("fit", start)
        best_own = self.reweighting(folds, groups)
        results: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        start = time.process_time()
        residuals = self.residualise(self.signals)
        self.timed("residualise", start)
        left = np.empty_like(self.responses)
        predicted = np.empty_like(self.responses)
        for fold in folds:
            left[:, fold.test], predicted[:, fold.test] = fold.residual, fold.predicted

        def keep(null: str, draws: list[dict[str, np.ndarray]], shift: np.ndarray) -> None:
            for name in draws[0]:
                value = observed[name]
                drawn = np.stack([draw[name] for draw in draws])
                if name == "present":
                    value, drawn = value - best_own, drawn - shift
                results[f"{name}/{null}"] = value, drawn

        if "rows" in effort.refits:
            start = time.process_time()
            draws = [
                self.statistics(folds, [signal[order] for signal in self.signals], groups)
                for order in self.permutations
            ]
            keep("rows", draws, best_own)
            self.timed("rows", start)
        if "residual_rows" in effort.refits:
            start = time.process_time()
            shared = [standardised(s) - e for s, e in zip(self.signals, residuals, strict=True)]
            draws = [
                self.statistics(
                    folds,
                    [s + e[order] for s, e in zip(shared, residuals, strict=True)],
                    groups,
                )
                for order in self.permutations
            ]
            keep("residual_rows", draws, best_own)
            self.timed("residual_rows", start)
        if "surrogates" in effort.refits:
            start = time.process_time()
            made = [predicted + left[:, order] for order in self.permutations]
            keep("surrogates", *self._refit(made))
            self.timed("surrogates", start)
        if "whitened" in effort.refits:
            start = time.process_time()
            keep("whitened", *self._refit(self._whitened_surrogates()))
            self.timed("whitened", start)
        if not effort.refits:
            empty = np.full((1, len(TESTED), len(best_own)), np.nan)
            for name, value in observed.items():
                shifted = value - best_own if name == "present" else value
                results[f"{name}/none"] = shifted, empty
        start = time.process_time()
        results.update(self._residual_on_residual(left, residuals))
        self.timed("residual on residual", start)
        start = time.process_time()
        results.update(self._components(residuals))
        self.timed("components", start)
        return results

    def _whitened_surrogates(self) -> list[np.ndarray]:
        """Brains with the covariance that activations give: whitened, permuted, coloured again."""
        kernels = [centred_kernel(x) for x in self.activations]
        made = [np.empty_like(self.responses) for _ in self.permutations]
        for people in self._regions():
            targets = np.isin(self.groups, people)
            own = self.responses[targets]
            weights = estimate_components(kernels, own)
            for surrogate, values in zip(
                made, whitened_surrogates(kernels, weights, own, self.permutations), strict=True
            ):
                surrogate[targets] = values
        return made

    def _regions(self) -> list[np.ndarray]:
        """People whose targets estimate one covariance."""
        if self.effort.pool == 1:
            return [np.array([person]) for person in range(len(self.layers))]
        found = []
        for layer in np.unique(self.layers):
            people = np.flatnonzero(self.layers == layer)
            found += np.array_split(people, max(1, len(people) // self.effort.pool))
        return found

    def _refit(self, surrogates: Sequence[np.ndarray]) -> tuple[list[dict], np.ndarray]:
        """Statistics of surrogates, as further targets of the same fits."""
        n_people = len(self.layers)
        made = np.concatenate([surrogate.astype(np.float32) for surrogate in surrogates])
        n_draws = len(self.permutations)
        groups = (self.groups[None, :] + n_people * np.arange(n_draws)[:, None]).ravel()
        folds = self.folds(made, groups, slow=False)
        found = self.statistics(folds, self.signals, groups)
        split = [
            {
                name: values.reshape(len(TESTED), n_draws, n_people)[:, d]
                for name, values in found.items()
            }
            for d in range(n_draws)
        ]
        return split, self.reweighting(folds, groups).reshape(n_draws, 1, n_people)

    def _residual_on_residual(
        self, left: np.ndarray, residuals: Sequence[np.ndarray]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Ridge of the responses' residuals on the signal's, and their products without any fit."""
        orders = np.vstack([np.arange(left.shape[1]), self.permutations])
        n_people, n_all = len(self.layers), len(orders)
        many = np.concatenate([left[:, order] for order in orders])
        groups = (self.groups[None, :] + n_people * np.arange(n_all)[:, None]).ravel()
        sums = Sums()
        products = np.zeros((n_all, len(residuals), n_people))
        scaled = left - left.mean(axis=1, keepdims=True)
        for place, residual in enumerate(residuals):
            for train, test in self.splits:
                band = make_band(residual[train], residual[test])
                mean = many[:, train].mean(axis=1, keepdims=True)
                fit = single_ridge(
                    band.train_kernel,
                    band.test_kernel,
                    many[:, train] - mean,
                    groups,
                    leave_out=False,
                )
                nothing = np.zeros_like(fit.predicted)
                sums.add(str(place), many[:, test] - mean, nothing, fit.predicted)
            kernel = centred_kernel(residual)
            np.fill_diagonal(kernel, 0.0)
            # Haseman–Elston: the slope of products of residuals on those of the signal's.
            kernel /= (kernel**2).sum()
            for row, order in enumerate(orders):
                moved = scaled[:, order]
                values = np.einsum("ij,ij->i", moved @ kernel, moved)
                products[row, place] = by_group(values, self.groups)
        places = range(len(residuals))
        gains = np.stack([by_group(sums.gain(str(p)), groups) for p in places], axis=1)
        r = np.stack([by_group(sums.semipartial(str(p)), groups) for p in places], axis=1)
        tables = {
            "residual_r2/rows": gains.reshape(n_all, n_people, -1).swapaxes(1, 2),
            "residual_r/rows": r.reshape(n_all, n_people, -1).swapaxes(1, 2),
            "products/rows": products,
        }
        return {name: (table[0], table[1:]) for name, table in tables.items()}

    def _components(
        self, residuals: Sequence[np.ndarray]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Variance components of the signal beside the activations.

        `plain` takes the signal as it is, `residual` what a cross-fitted baseline leaves of it,
        `novel` the part that its own variance components do not give to activations. `split` and
        `novel` give the baseline a second kernel per layer, of its ten leading components, so that
        weights need not be equally large for all.
        """
        base = [centred_kernel(x) for x in self.activations]
        leading = [leading_kernel(x) for x in self.activations]
        signals = {
            "components_plain": (base, [centred_kernel(standardised(s)) for s in self.signals]),
            "components_residual": (base, [centred_kernel(e) for e in residuals]),
            "components_split": ([*base, *leading], [centred_kernel(e) for e in residuals]),
            "components_novel": (
                [*base, *leading],
                [centred_kernel(novel_part(base, standardised(s))) for s in self.signals],
            ),
        }
        tables = {
            name: (np.zeros((2, n_people)), np.zeros((len(self.permutations), 2, n_people)))
            for name in signals
            for n_people in [len(self.layers)]
        }
        for people in self._regions():
            pool = self.responses[np.isin(self.groups, people)]
            weights: dict[int, np.ndarray] = {}
            for name, (kernels, added) in signals.items():
                size = len(kernels)
                if size not in weights:
                    weights[size] = estimate_components(kernels, pool)
                covariance = BaselineCovariance.of(kernels, weights[size])
                for place, kernel in enumerate(added):
                    for person in people:
                        value, drawn = covariance.test(
                            kernel, self.responses[self.groups == person], self.permutations
                        )
                        tables[name][0][place, person] = value
                        tables[name][1][:, place, person] = drawn
        return {f"{name}/whitened": table for name, table in tables.items()}


def run_cell(world: World, cell: Cell, effort: Effort) -> dict:
    """Rejections, means and cost of every candidate of a cell."""
    results: dict[str, list[tuple[np.ndarray, ...]]] = {}
    seconds: dict[str, float] = {}
    for number in range(effort.designs):
        design = Design(world, cell, effort, effort.first_design + number)
        own = np.array([TESTED.index(layer) for layer in design.layers])
        for name, (observed, null) in design.run().items():
            # The layer that the region follows, and whose gradient it holds.
            excess = (observed - null.mean(axis=0))[own, np.arange(len(own))]
            parts = observed.mean(axis=0), null.mean(axis=1), excess
            grouped = tuple(
                part.reshape(*part.shape[:-1], -1, cell.people).mean(axis=-1) for part in parts
            )
            results.setdefault(name, []).append(grouped)
        for name, value in design.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
    summary = {}
    for name, found in results.items():
        observed, excess = (np.concatenate([part[i] for part in found]) for i in (0, 2))
        null = np.concatenate([part[1] for part in found], axis=1)
        known = bool(np.isfinite(null).all())
        p = (1 + (null >= observed).sum(axis=0)) / (1 + len(null))
        summary[name] = {
            "rejected": int((p <= LEVEL + 1e-9).sum()) if known else None,
            "n": len(observed),
            "mean": float(observed.mean()),
            "sd": float(observed.std(ddof=1)),
            "null_mean": float(null.mean()) if known else None,
            "share": float(excess.mean() / EXPLAINED) if known else None,
            "share_sd": float(excess.std(ddof=1) / EXPLAINED) if known else None,
        }
    return {"cell": asdict(cell), "effort": asdict(effort), "results": summary, "seconds": seconds}


def cells(sizes: Sequence[int]) -> Iterator[Cell]:
    """All cells, those of one person first."""
    for n in sizes:
        for signal in NULLS:
            yield Cell(n, signal, 0.0)
        for share in SHARES:
            yield Cell(n, "gradient", share)


def run(arguments: argparse.Namespace) -> None:
    """Run what is not in the file yet."""
    world = World.read(arguments.features)
    if arguments.independent:
        world = world.independent(2 * max(arguments.images))
    done = set()
    if arguments.out.exists():
        done = {
            tuple(json.loads(line)["cell"].values())
            for line in arguments.out.read_text().splitlines()
        }
    wanted = [
        Cell(cell.n, cell.signal, cell.share, arguments.people) for cell in cells(arguments.images)
    ]
    effort = Effort(
        designs=arguments.designs,
        seeds=arguments.seeds,
        draws=arguments.draws,
        refits=tuple(arguments.refits),
        slow=arguments.slow,
        pool=arguments.pool,
        first_design=arguments.first_design,
    )
    number, of = map(int, arguments.part.split("/"))
    for cell in wanted[number::of]:
        if tuple(asdict(cell).values()) in done:
            continue
        if arguments.signals and cell.signal not in arguments.signals:
            continue
        start = time.perf_counter()
        line = run_cell(world, cell, effort)
        with arguments.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(cell, f"{time.perf_counter() - start:.0f} s", flush=True)


def print_expected(arguments: argparse.Namespace) -> None:
    """Markdown, exact and without draws: what variance components estimate, and how precisely.

    Expectations of quadratic forms of responses follow from their covariance: of 1 for the share
    that is held by the novel part of the gradient, and of 0 for a brain that follows the ten
    leading components of a layer. The deviation is that of 100 independent normal targets.
    """
    world = World.read(arguments.features)
    print("| images | layer | signal's kernel | 1 becomes | leading becomes | sd | z of 10 % |")
    print("|---|---|---|---|---|---|---|")
    for n in arguments.images:
        rows = world.choose(n, np.random.default_rng(0))
        base = [centred_kernel(x[rows]) for x in world.activations]
        leading = [leading_kernel(x[rows]) for x in world.activations]
        for layer in TESTED:
            signal = standardised(world.gradients[layer][rows])
            novel = world.novel[layer][rows]
            for name, kernels, added in (
                ("the gradient", base, signal),
                ("the gradient, split baseline", [*base, *leading], signal),
                ("novel part, split baseline", [*base, *leading], novel_part(base, signal)),
                ("the true novel part, split baseline", [*base, *leading], novel),
            ):
                weights = np.zeros(len(kernels) + 1)
                weights[layer], weights[-1] = EXPLAINED, 1.0 - EXPLAINED
                null = BaselineCovariance.of(kernels, weights)
                seen = null.seen(null.form(centred_kernel(added)))
                covariance = sum(
                    (w * k for w, k in zip(weights[:-1], kernels, strict=True)),
                    start=weights[-1] * np.eye(n),
                )
                held = float(np.vdot(seen, centred_kernel(novel)))
                wrong = float(np.vdot(seen, leading[layer]))
                moved = seen @ covariance
                deviation = float(np.sqrt(2.0 * np.vdot(moved, moved.T) / 100) / EXPLAINED)
                z = 0.1 * held / deviation
                print(
                    f"| {n} | {LAYERS[layer]} | {name} | {held:.2f} | {wrong:+.3f} | "
                    f"{deviation:.4f} | {z:.1f} |"
                )


def read_lines(files: Sequence[Path]) -> list[dict]:
    """All finished cells."""
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def column_of(cell: dict) -> str:
    """Heading of a cell in the table."""
    if cell["share"]:
        return f"{cell['share']:.0%}"
    return cell["signal"]


def rejection(result: dict, *, null: bool) -> str:
    """Rate of rejections with its exact binomial interval; bold where a null exceeds the level."""
    rejected, n = result["rejected"], result["n"]
    found = binomtest(rejected, n).proportion_ci(0.95, method="exact")
    text = f"{rejected / n:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("0.", ".")
    above = binomtest(rejected, n, LEVEL, alternative="greater").pvalue < LEVEL
    return f"**{text}**" if null and above else text


def print_table(arguments: argparse.Namespace) -> None:
    """Markdown: rejections, estimated shares, statistics without a test, and processor time."""
    lines = read_lines(arguments.out)
    order = [*NULLS, *(f"{share:.0%}" for share in SHARES)]
    for measure in ("rejected", "share"):
        for n, people in sorted({(x["cell"]["n"], x["cell"]["people"]) for x in lines}):
            chosen = [x for x in lines if (x["cell"]["n"], x["cell"]["people"]) == (n, people)]
            columns = [c for c in order if c in {column_of(x["cell"]) for x in chosen}]
            print(f"\n{measure}, {n} images, {people} people\n")
            print("| candidate | null | " + " | ".join(columns) + " |")
            print("|---|---|" + "---|" * len(columns))
            for name in dict.fromkeys(key for x in chosen for key in x["results"]):
                if measure == "share" and not name.startswith(("components", "layers", "prod")):
                    continue
                texts = dict.fromkeys(columns, "")
                for x in chosen:
                    result = x["results"].get(name)
                    if result and result["rejected"] is not None:
                        error = result["share_sd"] / np.sqrt(result["n"])
                        texts[column_of(x["cell"])] = (
                            rejection(result, null=not x["cell"]["share"])
                            if measure == "rejected"
                            else f"{result['share']:+.3f} ± {error:.3f}"
                        )
                if any(texts.values()):
                    print(
                        "| " + name.replace("/", " | ") + " | " + " | ".join(texts.values()) + " |"
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run")
    runner.add_argument("--features", type=Path, required=True)
    runner.add_argument("--out", type=Path, required=True)
    runner.add_argument("--images", type=int, nargs="+", default=[74, 250])
    runner.add_argument("--people", type=int, default=1)
    runner.add_argument("--signals", nargs="*", choices=NULLS)
    runner.add_argument("--designs", type=int, default=4)
    runner.add_argument("--seeds", type=int, default=200)
    runner.add_argument("--draws", type=int, default=19)
    runner.add_argument(
        "--refits",
        nargs="*",
        choices=("rows", "residual_rows", "surrogates", "whitened"),
        default=["rows", "residual_rows", "surrogates", "whitened"],
    )
    runner.add_argument("--slow", action="store_true", help="nested and stacked fits as well")
    runner.add_argument("--pool", type=int, default=1, help="seeds that share a covariance")
    runner.add_argument(
        "--independent", action="store_true", help="normal draws in place of crops of photographs"
    )
    runner.add_argument("--first-design", type=int, default=0, help="others are other draws")
    runner.add_argument("--part", default="0/1", help="which of how many parts of the cells")
    runner.set_defaults(call=run)
    printer = commands.add_parser("table")
    printer.add_argument("--out", type=Path, nargs="+", required=True, help="files of cells")
    printer.set_defaults(call=print_table)
    expected = commands.add_parser("expected")
    expected.add_argument("--features", type=Path, required=True)
    expected.add_argument("--images", type=int, nargs="+", default=[74, 250, 1000])
    expected.set_defaults(call=print_expected)
    arguments = parser.parse_args()
    warnings.simplefilter("error", RuntimeWarning)
    arguments.call(arguments)


if __name__ == "__main__":
    main()
