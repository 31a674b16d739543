r"""Which learning rule is found in brains that hold one: planted against found.

A brain for each family of learning rules is simulated again and again (fMRI, six people, one region
for each of four layers), and every rule of `config/learning_rules.yaml` is looked for in it. Seeds
give other read-outs and other noise; they are further targets behind the same kernels, so that a
brain costs a product of matrices. What a rule has for itself is the estimate of claim C1, its
variance component beside the activations of all layers (`gradbrain.encoding.unique_part`), at the
places that the other people choose.

The decision was written down before any brain was looked at:

1. A rule is *significant* where the group's estimate (mean over layers, each at its best region)
   exceeds that of permuted images, in standard deviations of its own null, by more than the largest
   of all rules and controls does in 95 % of draws: in a brain without a rule one in twenty studies
   finds any. People's noise is independent here, so that their signs are not asked as well.
2. *Found* is, among the significant ones, that with the largest share of the explainable variance;
   `nothing` where there is none.
3. It is *right* where it is of the planted family. Random feedback is right where any random
   feedback is found, since no analysis can know the weights.
4. Two families are *told apart* at a size where, in brains of either, the planted one has the
   larger share in at least .8 of studies.

    snakemake -c1 --configfile benchmarks/rule_worlds/study.yaml -- features \
        results/rule_worlds/responses/rule_fmri-s1.zarr     # signals, planted and looked for
    python benchmarks/calibrate_rules.py run --out results/calibration/rules --seeds 100
    python benchmarks/calibrate_rules.py run --out results/calibration/rules_half --images 54
    python benchmarks/calibrate_rules.py table --out results/calibration/rules \
        --others results/calibration/rules_half

Every finished block of seeds of a brain is a file in the folder and is not run again. `table`
writes the table between two marks of docs/learning_rules.md and draws its figure. What was planted
makes data and is the head of a table; no test reads it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest

from gradbrain.config.registries import read_yaml
from gradbrain.config.study import load_study
from gradbrain.datasets import simulated
from gradbrain.datasets.stimuli import read_stimuli
from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.inputs import Responses, lay_out_responses, read_model_features
from gradbrain.encoding.unique_part import (
    ALL_IMAGES,
    BaselineKernels,
    SignalKernels,
    explainable_of_units,
    unit_responses,
)
from gradbrain.encoding.variance_components import BaselineCovariance, estimate_components
from gradbrain.figures import style
from gradbrain.plan.jobs import Plan
from gradbrain.store import open_features, write_text
from gradbrain.vocabulary.artefacts import artefact

FLOATS = NDArray[np.floating]
CONFIG = "benchmarks/rule_worlds/study.yaml"
DATASET, MODEL = "rule_fmri", "efficientnet_lite0_128px"
DOCS = ROOT / "docs" / "learning_rules.md"
FIGURE = ROOT / "docs" / "figures" / "rule_confusion.png"
MARKS = ("<!-- confusion:start -->", "<!-- confusion:end -->")

NOTHING, CONTROL = "nothing", "a control"
#: Family -> signal that is planted.
PLANTED: dict[str, str | None] = {
    NOTHING: None,
    "backpropagation": "gradient_cross_entropy",
    "sign symmetry": "sign_symmetry",
    "Gauss–Newton target": "gauss_newton",
    "target propagation": "difference_target",
    "predictive coding, generative": "predictive_coding_generative",
    "predictive coding, inference": "predictive_coding_inference",
    "perturbation": "node_perturbation",
    "scalar feedback": "scalar_feedback",
    "Hebbian": "hebbian",
    "three factors": "three_factor_top_down",
    "random feedback": "planted_feedback_alignment",
}
#: Signal that is looked for -> its family; all others are controls.
FAMILY = {
    "gradient_cross_entropy": "backpropagation",
    "error_cross_entropy": "backpropagation",
    "sign_symmetry": "sign symmetry",
    "sign_symmetry_random": "sign symmetry",
    "gauss_newton": "Gauss–Newton target",
    "difference_target": "target propagation",
    "target_activity": "target propagation",
    "predictive_coding_generative": "predictive coding, generative",
    "predictive_coding_inference": "predictive coding, inference",
    "node_perturbation": "perturbation",
    "scalar_feedback": "scalar feedback",
    # The same number up to sign and shift.
    "objective_cross_entropy": "scalar feedback",
    "hebbian": "Hebbian",
    "three_factor_scalar": "three factors",
    "three_factor_top_down": "three factors",
    "feedback_alignment_0": "random feedback",
    "direct_feedback_alignment": "random feedback",
}
#: Rules without dice that cost the most: what is planted is not extracted again, but pooled from
#: what is looked for, 4 × 4 cells to 2 × 2.
POOLED = ("gauss_newton", "predictive_coding_inference")
LEVEL, ENOUGH = 0.05, 0.8
#: Studies of so many people are made of the people of several seeds.
PEOPLE = (6, 12, 24, 48)
# Share of a planted family's studies from which on another one is named as mistaken for it.
MISTAKEN = 0.1


# Decisions: of one study, from estimates alone.


def shares_at_places(component: FLOATS, explainable: FLOATS) -> FLOATS:
    """Unique share of every rule, each person's read where the others have the most.

    Parameters
    ----------
    component
        Shape (n_people, n_rules, n_layers, n_regions). Estimates, in the unit of the explainable
        variance.
    explainable
        Shape (n_people, n_regions).

    Returns
    -------
    array of shape (n_rules,)
        Sum over people of the mean over layers, as a share of what can be explained there.
    """
    others = component.sum(axis=0) - component
    places = others.argmax(axis=-1)
    own = np.take_along_axis(component, places[..., None], axis=-1)[..., 0]
    people = np.arange(len(component))[:, None, None]
    available = explainable[people, places]
    return own.mean(axis=-1).sum(axis=0) / available.mean(axis=-1).sum(axis=0)


def at_group_peaks(component: FLOATS) -> FLOATS:
    """Mean over layers of each layer's best region, shape (..., n_rules).

    Parameters
    ----------
    component
        Shape (..., n_rules, n_layers, n_regions). Summed over people.
    """
    return component.max(axis=-1).mean(axis=-1)


def significant(observed: FLOATS, null: FLOATS) -> NDArray[np.bool_]:
    """Rules that exceed what the largest of all does in 95 % of draws.

    Parameters
    ----------
    observed
        Shape (n_rules,). Statistic of every rule.
    null
        Shape (n_draws, n_rules). The same with permuted images.

    Returns
    -------
    array of shape (n_rules,), bool
    """
    centre, spread = null.mean(axis=0), null.std(axis=0, ddof=1)
    known = spread > 0
    scale = np.where(known, spread, 1.0)
    largest = np.where(known, (null - centre) / scale, -np.inf).max(axis=1)
    score = np.where(known, (observed - centre) / scale, -np.inf)
    exceeded = (largest[:, None] >= score).sum(axis=0)
    return (1 + exceeded) / (1 + len(null)) <= LEVEL


def found_rule(shares: FLOATS, is_significant: NDArray[np.bool_], rules: Sequence[str]) -> str:
    """Rule with the largest share among the significant ones; ``""`` where there is none."""
    if not is_significant.any():
        return ""
    return rules[int(np.where(is_significant, shares, -np.inf).argmax())]


def family_of(rule: str) -> str:
    """Family of a signal that was found."""
    return FAMILY.get(rule, CONTROL) if rule else NOTHING


# Brains and what they are looked at through.


def pooled(features: FLOATS) -> FLOATS:
    """Pool channels of 4 × 4 cells, shape (n_images, 16 n), to 2 × 2 cells, (n_images, 4 n)."""
    cells = features.reshape(len(features), -1, 2, 2, 2, 2)
    return cells.mean(axis=(3, 5)).reshape(len(features), -1)


@dataclass(frozen=True)
class Look:
    """What a region is looked at through: a covariance and a form for each rule of each layer.

    Attributes
    ----------
    covariance
        Of activations alone.
    forms
        Shape (n_rules * n_layers, size). Packed as its blocks are.
    """

    covariance: BaselineCovariance
    forms: FLOATS

    def products(self, values: FLOATS) -> FLOATS:
        """Mean over targets of the products of whitened responses, shape (n_images, n_images)."""
        root = self.covariance.products_root(values)
        return root.T @ root

    def components(self, products: FLOATS) -> FLOATS:
        """Estimate of every rule of every layer, shape (n_rules * n_layers,)."""
        return self.forms @ self.covariance.whitened.blocks.pack(products)

    def null(self, products: FLOATS, permutations: NDArray[np.intp]) -> FLOATS:
        """The same with permuted images, shape (n_draws, n_rules * n_layers)."""
        blocks = self.covariance.whitened.blocks
        return blocks.permuted_products(self.forms, products, permutations)


class Bench:
    """Signals, images and people of the benchmark.

    Parameters
    ----------
    root
        Folder below which ``results/`` has features and stimuli.
    n_images
        Only so many images, as many of every photograph; none: all.
    """

    def __init__(self, root: Path, n_images: int | None = None) -> None:
        self.root, self.n_images = root, n_images
        config = read_yaml(ROOT / CONFIG)
        self.plan = Plan(load_study(config, root=ROOT, where=CONFIG), root)
        self.settings = self.plan.study.settings.encoding
        self.entry = self.plan.study.datasets[DATASET]
        self.stimulus_set = str(self.entry.stimuli)
        self.stimuli = read_stimuli(root / self.plan.path("stimuli", stimuli=self.stimulus_set))
        self._planted: dict[str, simulated.Planted] = {}

    @property
    def feature_paths(self) -> list[Path]:
        """Feature stores of the network's layers, in depth order."""
        paths = self.plan.features_of_model(MODEL, self.stimulus_set)
        return [self.root / path for path in paths]

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """Rows of the stimuli that are shown."""
        if self.n_images is None:
            return np.arange(len(self.stimuli))
        groups = self.stimuli["group"]
        each = self.n_images // groups.nunique()
        return np.flatnonzero(groups.groupby(groups).cumcount() < each)

    def options(self, signal: str | None) -> simulated.Options:
        """Options of the brain that holds a signal, or none."""
        _, options = self.plan.adapter(self.entry)
        world = "feedforward" if signal is None else "backprop"
        return options.model_copy(update={"world": world, "learning_signal": signal})

    def brain(self, family: str, subject: str, seed: int) -> Responses:
        """Draw the responses of one person."""
        options = self.options(PLANTED[family])
        if family not in self._planted:
            self._planted[family] = self._read_planted(PLANTED[family], subject)
        drawn = options.model_copy(update={"seed": seed})
        store = simulated.simulate(
            self.entry, drawn, subject, self.stimuli, self._planted[family]
        ).assign_attrs(digest=f"{family}/{subject}/{seed}")
        path = Path(f"{subject} of seed {seed}, {family}")
        return lay_out_responses(path, store.isel(image=self.kept))

    def _read_planted(self, signal: str | None, subject: str) -> simulated.Planted:
        """Read what a brain is planted from, rows as the stimuli."""
        paths = [self.root / path for path in self.plan.planting_features(subject)]
        read = PLANTED["backpropagation"] if signal in POOLED else signal
        found = simulated.read_planted(self.entry, self.options(read), self.stimuli, paths)
        if signal not in POOLED:
            return found
        ids = self.stimuli["image_id"].to_numpy().astype(str)
        looked_for = read_model_features(self.feature_paths, ids, Path(f"plant of {signal}"))
        (identity,) = (one for one in looked_for.signals if one.name == signal)
        layers = self.options(signal).planting_layers
        return replace(
            found, learning=[pooled(looked_for.values(layer, identity)) for layer in layers]
        )

    @cached_property
    def first(self) -> Responses:
        """Anybody, for the order of images."""
        return self.brain(NOTHING, self.entry.subjects[0], 0)

    @cached_property
    def images(self) -> NDArray[np.intp]:
        """All images that are shown."""
        return np.arange(len(self.first.image_ids))

    @cached_property
    def features(self):
        """Signals of all layers, rows as people's."""
        return read_model_features(
            self.feature_paths, self.first.image_ids, Path(f"people of {DATASET}")
        )

    @property
    def rules(self) -> list[str]:
        """Signals that are looked for, controls included."""
        return [signal.name for signal in self.features.signals]

    @cached_property
    def baseline(self) -> BaselineKernels:
        """Activations of all layers."""
        layers = [self.features.activations[layer] for layer in self.features.layers]
        return BaselineKernels.of(layers, [], self.first.groups)

    @cached_property
    def signals(self) -> list[SignalKernels]:
        """Each rule's part that activations do not account for: rules, then their layers."""
        return [
            SignalKernels.of(
                self.baseline.plain, self.features.values(layer, signal), learning=False
            )
            for signal in self.features.signals
            for layer in self.features.layers
        ]

    @cached_property
    def permutations(self) -> NDArray[np.intp]:
        """Of images, groups whole."""
        settings = self.settings
        draws = draw_images(self.first.groups, settings.n_draws, settings.seed, ALL_IMAGES)
        return draws.permutations

    def looks(self, family: str) -> list[Look]:
        """What each region of a brain is looked at through.

        Covariances are estimated from the people of seed 0, who are in no study. The pipeline has
        those of each person; an estimate is unbiased whatever the covariance.
        """
        people = [self.brain(family, subject, 0) for subject in self.entry.subjects]
        found = []
        for targets in people[0].layout.slices:
            values = np.concatenate(
                [unit_responses(brain, targets, self.images) for brain in people]
            )
            weights = estimate_components(self.baseline.all, values)
            covariance = BaselineCovariance.of(self.baseline.all, weights)
            seen = [covariance.seen_root(signal.new) for signal in self.signals]
            found.append(Look(covariance, covariance.packed_forms(seen)))
        return found

    def study(self, family: str, seed: int, looks: Sequence[Look]) -> tuple[FLOATS, FLOATS, FLOATS]:
        """Estimates of all people of one seed, and the null draws of their sum.

        Returns
        -------
        component : array of shape (n_people, n_rules, n_layers, n_regions)
        explainable : array of shape (n_people, n_regions)
        null : array of shape (n_draws, n_rules, n_layers, n_regions)
        """
        shape = (len(self.rules), len(self.features.layers))
        component, explainable = [], []
        sums: list[FLOATS] = [np.zeros(0)] * len(looks)
        for number, subject in enumerate(self.entry.subjects):
            brain = self.brain(family, subject, seed)
            explainable.append(explainable_of_units(brain))
            own = []
            for place, (look, targets) in enumerate(zip(looks, brain.layout.slices, strict=True)):
                products = look.products(unit_responses(brain, targets, self.images))
                sums[place] = products if number == 0 else sums[place] + products
                own.append(look.components(products).reshape(shape))
            component.append(np.stack(own, axis=-1))
        null = [
            look.null(products, self.permutations).reshape(-1, *shape)
            for look, products in zip(looks, sums, strict=True)
        ]
        return np.stack(component), np.stack(explainable), np.stack(null, axis=-1)


# Blocks of seeds: one file each.


@dataclass(frozen=True)
class Block:
    """Some seeds of the brains of one family."""

    family: str
    start: int
    stop: int

    def path(self, folder: Path) -> Path:
        """Its file."""
        place = list(PLANTED).index(self.family)
        return folder / f"{place:02d}-{self.start:04d}-{self.stop:04d}.npz"


def run_block(block: Block, folder: Path, bench: Bench, looks: Sequence[Look]) -> None:
    """Study all seeds of a block and write them, in one step."""
    parts: dict[str, list] = {"component": [], "explainable": [], "significant": []}
    for seed in range(block.start, block.stop):
        component, explainable, null = bench.study(block.family, seed, looks)
        parts["component"].append(component.astype(np.float32))
        parts["explainable"].append(explainable.astype(np.float32))
        observed = at_group_peaks(component.sum(axis=0))
        parts["significant"].append(significant(observed, at_group_peaks(null)))
    temporary = block.path(folder).with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            family=block.family,
            seeds=np.arange(block.start, block.stop),
            rules=np.array(bench.rules),
            **{name: np.stack(values) for name, values in parts.items()},
        )
    temporary.rename(block.path(folder))


def run(arguments: argparse.Namespace) -> None:
    """Run the blocks that the folder does not hold."""
    logging.getLogger("gradbrain").setLevel(logging.ERROR)
    bench = Bench(arguments.root.resolve(), arguments.images)
    check_settings(arguments.out, bench)
    size = arguments.block
    wanted: dict[str, list[Block]] = {}
    for family in arguments.families or PLANTED:
        blocks = [
            # Seed 0 tells covariances.
            Block(family, start, min(start + size, arguments.seeds + 1))
            for start in range(1, arguments.seeds + 1, size)
        ]
        wanted[family] = [one for one in blocks if not one.path(arguments.out).exists()]
    n_blocks = sum(map(len, wanted.values()))
    print(f"{n_blocks} blocks are to be run", file=sys.stderr, flush=True)
    for family, blocks in wanted.items():
        looks = bench.looks(family) if blocks else []
        for block in blocks:
            start = time.process_time()
            run_block(block, arguments.out, bench, looks)
            seconds = (time.process_time() - start) / (block.stop - block.start)
            print(
                f"{family}: seeds {block.start} to {block.stop - 1}, "
                f"{seconds:.2f} s of processor each",
                file=sys.stderr,
                flush=True,
            )
    alike = folder_of_alikeness(arguments.out)
    if not alike.exists():
        write_text(alike, alikeness(bench).to_csv(index=False, float_format="%.4g"))


def folder_of_alikeness(folder: Path) -> Path:
    """File of how alike the families' signals are."""
    return folder / "alikeness.csv"


def check_settings(folder: Path, bench: Bench) -> None:
    """Note the settings of a run beside its blocks; refuse blocks of other settings."""
    said = {
        "images": len(bench.kept),
        "encoding": bench.settings.model_dump(mode="json", include={"n_draws", "seed"}),
        "brain": bench.options(None).model_dump(mode="json"),
        "planted": PLANTED,
        "version": artefact("unique").version,
        "features": [str(open_features(path).attrs["digest"]) for path in bench.feature_paths],
    }
    path = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and json.loads(path.read_text()) != json.loads(json.dumps(said)):
        raise SystemExit(
            f"{path}: blocks of other settings lie in this folder; give another one with --out"
        )
    write_text(path, json.dumps(said, indent=1))


def alikeness(bench: Bench) -> pd.DataFrame:
    """How alike the signals of two families are, as they are and beside activations.

    Returns
    -------
    pandas.DataFrame
        A row per pair of rules: ``cosine`` of the pooled signals, mean over images and layers; NaN
        where they differ in width; ``overlap`` of the kernels of their new parts, mean over layers,
        1 where they are the same (centred kernel alignment, Cortes et al. 2012); ``new_share`` of
        the variance of the rule that activations do not account for, mean over layers.
    """
    features, n_layers = bench.features, len(bench.features.layers)
    rules = [name for name in bench.rules if name in FAMILY]
    rows = []
    grams, new_share = {}, {}
    for place, name in enumerate(bench.rules):
        own = bench.signals[n_layers * place : n_layers * (place + 1)]
        grams[name] = [signal.new @ signal.new.T for signal in own]
        new_share[name] = float(np.mean([signal.new_share for signal in own]))
    identities = {signal.name: signal for signal in features.signals}
    for first in rules:
        for second in rules:
            cosines = []
            for layer in features.layers:
                a, b = (features.values(layer, identities[name]) for name in (first, second))
                if a.shape == b.shape:
                    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
                    known = lengths > 0
                    cosines.append(((a * b).sum(axis=1)[known] / lengths[known]).mean())
            overlaps = [
                np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b))
                for a, b in zip(grams[first], grams[second], strict=True)
            ]
            cosine = float(np.mean(cosines)) if len(cosines) == n_layers else np.nan
            rows.append((first, second, cosine, float(np.mean(overlaps)), new_share[first]))
    return pd.DataFrame(rows, columns=["rule", "other", "cosine", "overlap", "new_share"])


# Tables.


@dataclass(frozen=True)
class Results:
    """Everything that was found in the brains of one family.

    Attributes
    ----------
    rules
        Names of rules.
    component
        Shape (n_seeds, n_people, n_rules, n_layers, n_regions).
    explainable
        Shape (n_seeds, n_people, n_regions).
    significant
        Shape (n_seeds, n_rules), bool.
    """

    rules: list[str]
    component: FLOATS
    explainable: FLOATS
    significant: NDArray[np.bool_]

    @cached_property
    def found(self) -> list[str]:
        """Rule that is found in every study."""
        return [
            found_rule(shares_at_places(component, explainable), own, self.rules)
            for component, explainable, own in zip(
                self.component, self.explainable, self.significant, strict=True
            )
        ]

    def shares(self, n_people: int) -> FLOATS:
        """Unique shares in studies of so many people, shape (n_studies, n_rules).

        People of one seed make a study together; larger ones take those of several seeds, of which
        each is used once.
        """
        n_seeds, each = self.component.shape[:2]
        seeds = n_people // each
        n_studies = n_seeds // seeds
        component = self.component[: n_studies * seeds].reshape(
            n_studies, n_people, *self.component.shape[2:]
        )
        explainable = self.explainable[: n_studies * seeds].reshape(n_studies, n_people, -1)
        return np.stack(
            [shares_at_places(*one) for one in zip(component, explainable, strict=True)]
        )


def read_results(folder: Path) -> dict[str, Results]:
    """Family -> results of all blocks that are there, in the order of their seeds."""
    blocks: dict[str, list[dict[str, NDArray]]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as block:
            blocks.setdefault(str(block["family"]), []).append(dict(block))
    if not blocks:
        raise SystemExit(f"{folder}: holds no block yet; run some first")
    names = ("component", "explainable", "significant")
    return {
        family: Results(
            list(map(str, own[0]["rules"])),
            *(np.concatenate([block[name] for block in own]) for name in names),
        )
        for family, own in blocks.items()
    }


def share(hits: int, n: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = binomtest(hits, n).proportion_ci()
    return f"{hits / n:.2f} [{low:.2f}, {high:.2f}]"


def confusion(results: Mapping[str, Results]) -> pd.DataFrame:
    """Studies by what was planted (rows) and what was found (columns)."""
    columns = [*list(PLANTED)[1:], CONTROL, NOTHING]
    counts = pd.DataFrame(0, index=[name for name in PLANTED if name in results], columns=columns)
    for family, own in results.items():
        for rule in own.found:
            counts.loc[family, family_of(rule)] += 1
    return counts


def confusion_table(counts: pd.DataFrame, alike: pd.DataFrame) -> Iterator[str]:
    """What was found in the brains of every family, as rows of a page."""
    yield "| planted | new beside activations | found as planted | nothing found | something else |"
    yield "| --- | --- | --- | --- | --- |"
    new_share = alike.drop_duplicates("rule").set_index("rule")["new_share"]
    for family, row in counts.iterrows():
        n = int(row.sum())
        others = row.drop([str(family), NOTHING], errors="ignore").sort_values(ascending=False)
        said = ", ".join(f"{name} {share(int(k), n)}" for name, k in others.items() if k)
        nothing = share(int(row[NOTHING]), n)
        right = nothing if family == NOTHING else share(int(row[str(family)]), n)
        looked_for = [rule for rule, own in FAMILY.items() if own == family][:1]
        new = f"{new_share[looked_for[0]]:.2f}" if looked_for else "–"
        none = nothing if family != NOTHING else "–"
        yield f"| {family} | {new} | {right} | {none} | {said or '–'} |"


def mistaken_pairs(counts: pd.DataFrame) -> list[tuple[str, str]]:
    """Families of which one is found in a tenth of the brains of the other."""
    pairs = set()
    for family, row in counts.iterrows():
        for other, k in row.items():
            families = {str(family), str(other)}
            if (
                len(families) == 2
                and not families & {NOTHING, CONTROL}
                and k >= MISTAKEN * row.sum()
            ):
                pairs.add(tuple(sorted(families, key=list(PLANTED).index)))
    return sorted(pairs, key=lambda pair: [list(PLANTED).index(name) for name in pair])


def told_apart(results: Mapping[str, Results], pair: tuple[str, str], n_people: int) -> list[float]:
    """Share of studies of either family in which it has the larger unique share of the two."""
    found = []
    for planted, other in (pair, pair[::-1]):
        own = results[planted]
        shares = own.shares(n_people)
        best = {
            family: shares[:, [FAMILY.get(rule) == family for rule in own.rules]].max(axis=1)
            for family in pair
        }
        found.append(float(np.mean(best[planted] > best[other])))
    return found


def pairs_table(
    folders: Sequence[Path], pairs: Sequence[tuple[str, str]], alike: pd.DataFrame
) -> Iterator[str]:
    """Families that are mistaken for each other: why, and from which size on not any more."""
    sizes = {}
    for folder in folders:
        n_images = int(json.loads((folder / "settings.json").read_text())["images"])
        sizes[n_images] = read_results(folder)
    yield (
        "| families | most alike | cosine | overlap beside activations "
        "| told apart from images × people | that, at the first or the largest size |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for pair in pairs:
        row = most_alike(alike, pair)
        cosine = f"{row['cosine']:.2f}".replace("-", "−") if np.isfinite(row["cosine"]) else "–"
        told, last = [], ""
        for n_images, results in sorted(sizes.items()):
            for n_people in PEOPLE:
                if not set(pair) <= set(results):
                    continue
                apart = told_apart(results, pair, n_people)
                last = f"at {n_images} × {n_people}: {apart[0]:.2f} and {apart[1]:.2f}"
                if min(apart) >= ENOUGH:
                    told.append((n_images, n_people))
                    break
        said = ", ".join(f"{images} × {people}" for images, people in told) or "none"
        yield (
            f"| {pair[0]} · {pair[1]} | `{row['rule']}` · `{row['other']}` | {cosine} "
            f"| {row['overlap']:.2f} | {said} | {last} |"
        )


def most_alike(alike: pd.DataFrame, pair: tuple[str, str]) -> pd.Series:
    """Rules of two families whose new parts overlap most, a row of `alikeness`."""
    families = [alike[name].map(FAMILY) for name in ("rule", "other")]
    own = alike[(families[0] == pair[0]) & (families[1] == pair[1])]
    return own.loc[own["overlap"].idxmax()]


def size_table(folders: Sequence[Path]) -> Iterator[str]:
    """How often the planted family has the largest part of all, by images and people."""
    head = " | ".join(f"{n} people" for n in PEOPLE)
    yield f"| planted | images | {head} |"
    yield "| --- | --- |" + " --- |" * len(PEOPLE)
    for folder in folders:
        n_images = json.loads((folder / "settings.json").read_text())["images"]
        for family, own in read_results(folder).items():
            if family == NOTHING:
                continue
            cells = []
            for n_people in PEOPLE:
                best = own.shares(n_people).argmax(axis=1)
                hits = sum(family_of(own.rules[place]) == family for place in best)
                cells.append(share(hits, len(best)))
            yield f"| {family} | {n_images} | {' | '.join(cells)} |"


def draw(counts: pd.DataFrame, path: Path) -> None:
    """Draw the matrix: share of studies, what was planted downwards, what was found across."""
    shares = counts.div(counts.sum(axis=1), axis=0)
    with style.applied():
        whole = Figure(figsize=(7.6, 5.4), layout="constrained")
        ax = whole.subplots()
        image = ax.imshow(shares.to_numpy(), vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(shares.to_numpy()):
            if value:
                ink = "#FFFFFF" if value < 0.6 else style.INK
                text = f"{value:.2f}".replace("0.", ".", 1)
                ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)
        ax.set_xticks(range(len(shares.columns)), labels=shares.columns, rotation=50, ha="right")
        ax.set_yticks(range(len(shares.index)), labels=shares.index)
        ax.set_xlabel("found: largest unique part that is significant")
        ax.set_ylabel("planted")
        ax.grid(visible=False)
        whole.colorbar(image, ax=ax, label="share of studies", shrink=0.7)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.savefig(path, dpi=150, metadata={"Software": None})


def page_of(arguments: argparse.Namespace) -> str:
    """Everything that stands between the marks."""
    results = read_results(arguments.out)
    said = json.loads((arguments.out / "settings.json").read_text())
    counts = confusion(results)
    n = sorted({len(own.found) for own in results.values()})
    seeds = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    alike = pd.read_csv(folder_of_alikeness(arguments.out))
    pairs = mistaken_pairs(counts)
    return "\n\n".join(
        [
            f"Seeds 1 to {seeds} of each brain, {said['images']} images, "
            f"{results[NOTHING].component.shape[1]} people; shares of studies with exact 95 % "
            "intervals:",
            "\n".join(confusion_table(counts, alike)),
            "Families of which one was found in at least a tenth of the brains of the other. The "
            "last column says in which share of studies of that size each has the larger part in "
            "brains of its own; they are told apart where both are at least .8:",
            "\n".join(pairs_table([arguments.out, *arguments.others], pairs, alike)),
            "How often the planted family has the largest part of all rules and controls, "
            "significant or not; studies of more people are made of the people of several seeds:",
            "\n".join(size_table([arguments.out, *arguments.others])),
        ]
    )


def table(arguments: argparse.Namespace) -> None:
    """Write the tables between the marks of the documentation, and draw the matrix."""
    page = DOCS.read_text()
    start, stop = (page.index(mark) for mark in MARKS)
    own = page_of(arguments)
    write_text(DOCS, f"{page[: start + len(MARKS[0])]}\n{own}\n{page[stop:]}")
    draw(confusion(read_results(arguments.out)), FIGURE)
    print(f"{DOCS}, {FIGURE}", file=sys.stderr)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the blocks")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="folder whose results/ has features and stimuli"
    )
    parser.add_argument("--images", type=int, help="only so many images; else all")
    parser.add_argument("--families", nargs="+", choices=PLANTED, help="some; else all")
    parser.add_argument("--seeds", type=int, default=100, help="seeds of each family")
    parser.add_argument("--block", type=int, default=10, help="seeds of a file")
    parser.add_argument(
        "--others", type=Path, nargs="*", default=[], help="folders of other sizes, for the table"
    )
    arguments = parser.parse_args()
    {"run": run, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
