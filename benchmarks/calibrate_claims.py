"""How often each claim is judged as it should be, in brains whose truth is known.

The simulated brains of a study are drawn again and again, with other read-outs and other noise
(`seed` of the data set's options; seed 0 is the study itself), and each draw is put through the
pipeline: its noise ceilings, its fits, unique variance, image draws, statistics of the hierarchy
and claims, all people of both modalities. People and draws share what follows from the images
alone: bands, decompositions, kernels. Signals are fitted alone, since claims read no other fit.

    snakemake --cores 2 --configfile config/worlds.yaml -- claims   # makes features and reliability
    python benchmarks/calibrate_claims.py run --out results/calibration/claims --seeds 300 --jobs 2
    python benchmarks/calibrate_claims.py tables --out results/calibration/claims

Positive controls are the same with `--config benchmarks/positive_controls/study.yaml` and another
folder, which `tables` takes with `--controls`; other shares of signal or layers (`--explainable`,
`--layers`) with `--others`.

Every finished block of seeds of a brain is a file in the folder and is not run again; `tables`
writes the tables of what is there between two marks of docs/calibration.md. `keep` turns the blocks
into one small file that travels: a run goes on from it on another machine, where features are the
same but for rounding. benchmarks/records/claims_of_worlds is that of docs/calibration.md. What was
planted makes data and is the head of a table; no test reads it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import binomtest

from gradbrain.config.registries import read_yaml
from gradbrain.config.schema import (
    DatasetEntry,
    EncodingSettings,
    ReliabilitySettings,
    StatisticsSettings,
    StrictModel,
)
from gradbrain.config.study import load_study
from gradbrain.datasets import simulated
from gradbrain.datasets.stimuli import read_stimuli
from gradbrain.encoding.backend import make_backend
from gradbrain.encoding.bands import Band
from gradbrain.encoding.fit import fit_layer
from gradbrain.encoding.inputs import (
    Responses,
    lay_out_responses,
    read_features,
    read_model_features,
)
from gradbrain.encoding.shared_decompositions import SharedDecompositions
from gradbrain.encoding.unique_part import BlockKernels, measure_unique
from gradbrain.figures.report.answer import answer
from gradbrain.hierarchy.claims import judge
from gradbrain.hierarchy.reliability import Reliability
from gradbrain.hierarchy.subject_scores import subject_scores
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.plan.jobs import Plan
from gradbrain.store import SignalIdentity, open_features, read_table, write_text
from gradbrain.vocabulary.artefacts import artefact
from gradbrain.vocabulary.roles import LEARNING, TIME

CONFIG = "config/worlds.yaml"
DOCS = ROOT / "docs" / "calibration.md"
MARKS = ("<!-- claims:start -->", "<!-- claims:end -->")
# What of a claim is kept of each draw.
KEPT = (
    *("prediction", "dataset", "axis", "variant", "estimate", "p", "p_min", "q", "verdict"),
    *("reason", "n", "ci_low", "ci_high", "lower_share", "upper_share", "detectable_share"),
)

#: All seeds of a folder in one file, as `keep` writes it.
KEPT_FILE = "seeds.parquet"
#: Sections of a study that claims depend on, with their defaults.
SECTIONS = {
    "encoding": EncodingSettings(),
    "statistics": StatisticsSettings(),
    "reliability": ReliabilitySettings(),
}
#: Settings of which draws know nothing: signals are fitted alone.
UNREAD = ("variance_partitioning", "n_band_weights", "n_simplex_draws", "baseline_components")
#: Results that claims are made of.
VERSIONED = ("encoding", "unique", "hierarchy", "claims")


@dataclass(frozen=True)
class Design:
    """Which study is drawn again, and what is otherwise than in its config.

    Attributes
    ----------
    config
        File of the study, below the checkout.
    layers
        Layers of the network that brains are seen through; none: as in the study.
    explainable
        Tuple of (axis, share). Share of signal in the responses, in the place of that of the data
        sets.
    people
        Only so many of each data set, the first.
    vertices
        Vertices per region and hemisphere, in the place of those of the data sets.
    """

    config: str = CONFIG
    layers: tuple[str, ...] = ()
    explainable: tuple[tuple[str, float], ...] = ()
    people: int | None = None
    vertices: int | None = None

    def plan(self, root: Path) -> Plan:
        """Plan of the study, whose features and stimuli lie below a folder."""
        config = read_yaml(ROOT / self.config)
        if self.layers:
            config["models"] = [{**config["models"][0], "layers": list(self.layers)}]
        return Plan(load_study(config, root=ROOT, where=self.config), root)

    def options(self, entry: DatasetEntry, options: simulated.Options) -> simulated.Options:
        """Options of a data set."""
        changed = {
            "explainable_variance": dict(self.explainable).get(str(entry.axis)),
            "vertices_per_region": self.vertices,
        }
        said = {name: value for name, value in changed.items() if value is not None}
        return options.model_copy(update=said)


def network_of(plan: Plan) -> str:
    """Network that brains are seen through: the study's first, whose signals are tested."""
    return next(iter(plan.study.models))


def worlds_of(plan: Plan) -> dict[str, list[str]]:
    """World -> names of its data sets, as their options say."""
    found: dict[str, list[str]] = {}
    for name, entry in plan.study.datasets.items():
        found.setdefault(plan.adapter(entry)[1].world, []).append(name)
    return found


class Seen:
    """What follows from a network and the images alone, the same for all brains that saw them.

    Parameters
    ----------
    paths
        Feature stores of the network's layers, in depth order.
    brain
        Of anybody who saw the images, which gives their order and groups.
    path
        Where these are, named in errors.
    settings
        Section ``encoding`` of the study.
    """

    def __init__(
        self, paths: Sequence[Path], brain: Responses, path: Path, settings: EncodingSettings
    ) -> None:
        self.images = brain.image_ids
        self.model = read_model_features(paths, brain.image_ids, path)
        self.layers = {
            layer: replace(
                read_features(paths, layer, brain.image_ids, path), paired=False, for_claims=True
            )
            for layer in self.model.layers
        }
        self.bands: dict[str, dict[int, dict[SignalIdentity, Band]]] = {
            layer: {} for layer in self.layers
        }
        self.kernels: dict[int, BlockKernels] = {}
        self.backend = SharedDecompositions(make_backend(settings.backend, settings.device))


class Brains:
    """The people of one world, whose responses can be drawn with any seed.

    Parameters
    ----------
    design
        Images, people and targets that are simulated.
    world
        Name of the simulated brain.
    root
        Folder below which ``results/`` has features and stimuli.
    model
        Network that they are seen through, in the place of the study's first; the family of tests
        is its rows alone.
    seen
        Stimulus set -> what follows from its images, kept here for brains of other worlds.
    """

    def __init__(
        self,
        design: Design,
        world: str,
        root: Path,
        model: str | None = None,
        seen: dict[str, Seen] | None = None,
    ) -> None:
        self.design, self.root = design, root
        plan = self.plan = design.plan(root)
        self.model = model or network_of(plan)
        self.settings = plan.study.settings
        self.entries = [plan.study.datasets[name] for name in worlds_of(plan)[world]]
        self.stimulus_set = str(self.entries[0].stimuli)
        self.stimuli = read_stimuli(root / plan.path("stimuli", stimuli=self.stimulus_set))
        self.signal_set = plan.taken_set(self.model, plan.set_of(self.model))
        self._planted: dict[str, simulated.Planted] = {}
        self._seen = {} if seen is None else seen

    @property
    def feature_paths(self) -> list[Path]:
        """Feature stores of the network's layers, in depth order."""
        paths = self.plan.features_of_model(self.model, self.stimulus_set)
        return [self.root / path for path in paths]

    def responses(self, entry: DatasetEntry, subject: str, seed: int) -> tuple[Path, Responses]:
        """Draw the responses of one person, without those before image onset."""
        _, options = self.plan.adapter(entry)
        if entry.name not in self._planted:
            features = [self.root / path for path in self.plan.planting_features(subject)]
            self._planted[entry.name] = simulated.read_planted(
                entry, options, self.stimuli, features
            )
        drawn = self.design.options(entry, options).model_copy(update={"seed": seed})
        store = simulated.simulate(
            entry, drawn, subject, self.stimuli, self._planted[entry.name]
        ).assign_attrs(digest=f"{subject}/{seed}")
        if "time" in store.dims:
            store = store.isel(time=store["time"].values > store.attrs["onset_s"])
        path = Path(f"{subject} of seed {seed}")
        encoding = self.settings.encoding
        return path, lay_out_responses(
            path, store, encoding.min_noise_ceiling, encoding.ceiling_floor
        )

    def seen(self, path: Path, brain: Responses) -> Seen:
        """What follows from the images that a person saw."""
        if self.stimulus_set not in self._seen:
            paths, encoding = self.feature_paths, self.settings.encoding
            self._seen[self.stimulus_set] = Seen(paths, brain, path, encoding)
        found = self._seen[self.stimulus_set]
        if not np.array_equal(found.images, brain.image_ids):
            raise ValueError(f"{path}: saw other images than the others of {self.stimulus_set}")
        return found

    def fits(self, path: Path, brain: Responses) -> list[xr.Dataset]:
        """Fit all layers to one person."""
        encoding, study, seen = self.settings.encoding, self.plan.study.name, self.seen(path, brain)
        return [
            fit_layer(
                features, brain, encoding, study, backend=seen.backend, bands=seen.bands[layer]
            )
            for layer, features in seen.layers.items()
        ]

    def unique(self, path: Path, brain: Responses) -> xr.Dataset:
        """Estimate the unique variance in one person."""
        encoding, study, seen = self.settings.encoding, self.plan.study.name, self.seen(path, brain)
        return measure_unique(seen.model, brain, encoding, study, seen.kernels)

    def _with_early(self, entry: DatasetEntry, store: xr.Dataset) -> xr.Dataset:
        """Results at all times: NaN before onset, of which no statistic takes notice.

        The pipeline has numbers there, and random ones are drawn for as many times.
        """
        if entry.axis != TIME:
            return store
        times = simulated.sample_times(self.plan.adapter(entry)[1])
        found = store.reindex(unit=[f"{time:.6g}" for time in times])
        return found.assign_coords(unit_time=("unit", times))

    def claims(self, seed: int) -> pd.DataFrame:
        """Judge all claims about the people of one seed."""
        fits, unique = [], {}
        for entry in self.entries:
            for subject in entry.subjects[: self.design.people]:
                path, brain = self.responses(entry, subject, seed)
                fits += [(path, self._with_early(entry, fit)) for fit in self.fits(path, brain)]
                found = self._with_early(entry, self.unique(path, brain))
                unique[entry.name, subject] = (path, found)
        subjects = subject_scores(fits, self.signal_set, unique)
        return judge(
            summarise_all(subjects, self.settings.statistics),
            self.settings.statistics,
            study=self.plan.study.name,
            reliabilities=self.reliabilities(),
            thresholds=self.settings.reliability,
            untrained=self.plan.untrained,
        )

    def reliabilities(self) -> dict[tuple[str, str, str], Reliability]:
        """How well the signals repeat themselves over these images, as the study measured it."""
        found = {}
        if not self.plan.reliability(self.model):
            return found
        path = self.plan.path(
            "reliability",
            model=self.model,
            stimuli=self.stimulus_set,
        )
        table = read_table(self.root / path, kind="reliability")
        for signal, layers in table.groupby("signal"):
            whole, unique = layers[["reliability", "unique_reliability"]].median()
            for entry in self.entries:
                key = (entry.name, self.model, str(signal))
                found[key] = Reliability(str(signal), float(whole), float(unique))
        return found


# Blocks of seeds: one file each.


@dataclass(frozen=True)
class Block:
    """Some seeds of one world.

    Attributes
    ----------
    world
        Name of the simulated brain.
    start, stop
        First seed, and one past the last.
    """

    world: str
    start: int
    stop: int

    def path(self, folder: Path) -> Path:
        """Its file."""
        return folder / f"{self.world}-{self.start:04d}-{self.stop:04d}.csv"

    def seeds(self) -> set[tuple[str, int]]:
        """World and number of each of its seeds."""
        return {(self.world, seed) for seed in range(self.start, self.stop)}


_BRAINS: dict[str, Brains] = {}
_SEEN: dict[str, Seen] = {}


def run_block(block: Block, folder: Path, design: Design, root: Path) -> str:
    """Judge the claims of all seeds of a block and write them, in one step."""
    logging.getLogger("gradbrain").setLevel(logging.ERROR)
    if block.world not in _BRAINS:
        _BRAINS[block.world] = Brains(design, block.world, root, seen=_SEEN)
    tables = []
    for seed in range(block.start, block.stop):
        start = time.process_time()
        claims = _BRAINS[block.world].claims(seed)[list(KEPT)]
        seconds = round(time.process_time() - start, 2)
        tables.append(claims.assign(world=block.world, seed=seed, cpu_s=seconds))
    table = pd.concat(tables, ignore_index=True)
    write_text(block.path(folder), table.to_csv(index=False, float_format="%.6g"))
    return f"{block.path(folder)}: {table['cpu_s'].iloc[-1]} s of processor per seed"


def run(arguments: argparse.Namespace) -> None:
    """Run the blocks that the folder does not hold."""
    folder, root = arguments.out, arguments.root.resolve()
    design = Design(
        arguments.config,
        tuple(arguments.layers),
        tuple((axis, float(value)) for axis, value in arguments.explainable),
        arguments.people,
        arguments.vertices,
    )
    plan = design.plan(root)
    check_settings(folder, design, plan)
    blocks = [
        Block(world, start, min(start + arguments.block, arguments.seeds + 1))
        # Seed 0 is the study that was looked at. Worlds take turns, so that a run that is cut
        # short has as many seeds of each.
        for start in range(1, arguments.seeds + 1, arguments.block)
        for world in arguments.worlds or worlds_of(plan)
    ]
    done = kept_seeds(folder)
    wanted = [
        block for block in blocks if not (block.path(folder).exists() or block.seeds() <= done)
    ]
    print(f"{len(wanted)} of {len(blocks)} blocks are to be run", file=sys.stderr)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        jobs = [pool.submit(run_block, block, folder, design, root) for block in wanted]
        for job in jobs:
            print(job.result(), file=sys.stderr, flush=True)


def kept_seeds(folder: Path, brain: str = "world") -> set[tuple[str, int]]:
    """Brain, by the column that tells it, and number of the seeds in the file that `keep` wrote."""
    if not (folder / KEPT_FILE).exists():
        return set()
    rows = pd.read_parquet(folder / KEPT_FILE, columns=[brain, "seed"]).drop_duplicates()
    return set(rows.itertuples(index=False, name=None))


def keep(arguments: argparse.Namespace) -> None:
    """Turn all blocks of the folder into one file, and remove them."""
    claims = read_blocks(arguments.out)
    keep_claims(arguments.out, claims.sort_values(["world", "seed", "dataset", *ROW]))
    n_seeds = len(kept_seeds(arguments.out))
    print(f"{arguments.out / KEPT_FILE}: {n_seeds} seeds", file=sys.stderr)


def keep_claims(folder: Path, claims: pd.DataFrame) -> None:
    """Write the claims of all files of a folder into one, and remove them."""
    files = sorted(folder.glob("*.csv"))
    draft = folder / f".{KEPT_FILE}"
    claims.reset_index(drop=True).to_parquet(draft, compression="zstd", compression_level=19)
    draft.replace(folder / KEPT_FILE)
    for file in files:
        file.unlink()


def feature_marks(plan: Plan) -> dict[str, dict[str, list[float]]]:
    """Store of the network's features -> signal -> a few sums over it, which tell it from others.

    Two machines give the same features but for rounding, so that these are compared and no digest.
    """
    stimuli = str(next(iter(plan.study.datasets.values())).stimuli)
    found: dict[str, dict[str, list[float]]] = {}
    for path in plan.features_of_model(network_of(plan), stimuli):
        if not (plan.root / path).exists():
            continue
        store = open_features(plan.root / path)
        found[path] = {}
        for signal in store.signals:
            values = np.asarray(store.values(signal), dtype=np.float64)
            image, feature = (np.arange(size) for size in values.shape)
            sums = [
                np.cos(rate * image) @ values @ np.cos(rate * feature) / np.linalg.norm(values)
                for rate in (0.0, 0.7, 1.9)
            ]
            found[path][signal.name] = [float(f"{part:.6g}") for part in sums]
    return found


def same_features(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the marks of two runs are of the same features."""
    return one.keys() == other.keys() and all(
        one[path].keys() == other[path].keys()
        and all(
            np.allclose(one[path][signal], other[path][signal], rtol=1e-3, atol=1e-3)
            for signal in one[path]
        )
        for path in one
    )


def _section(settings: StrictModel) -> dict[str, Any]:
    """Settings of a section that draws depend on."""
    return settings.model_dump(mode="json", exclude=set(UNREAD))


def check_settings(folder: Path, design: Design, plan: Plan) -> None:
    """Note the settings of a run beside its blocks; refuse blocks of other settings."""
    settings = plan.study.settings
    said = {
        "model": network_of(plan),
        "layers": list(plan.layers(network_of(plan))),
        "people": design.people,
        "signals": [signal.name for signal in plan.study.signal_set.signals],
        **{name: _section(getattr(settings, name)) for name in SECTIONS},
        # Results of other versions are others.
        "versions": {kind: artefact(kind).version for kind in VERSIONED},
        # Of the features themselves: an objective may change and keep its name.
        "features": feature_marks(plan),
        "axes": {name: str(entry.axis) for name, entry in plan.study.datasets.items()},
        "brains": {
            name: design.options(entry, plan.adapter(entry)[1]).model_dump(mode="json")
            for name, entry in plan.study.datasets.items()
        },
    }
    path = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    said = json.loads(json.dumps(said))
    if not path.exists():
        write_text(path, json.dumps(said, indent=1))
        return
    earlier = json.loads(path.read_text())
    for name, defaults in SECTIONS.items():
        # A setting that came later was what its default is.
        kept = {key: value for key, value in earlier.get(name, {}).items() if key not in UNREAD}
        earlier[name] = _section(defaults) | kept
    features = same_features(earlier.pop("features"), said.pop("features"))
    others = sorted(name for name in said.keys() | earlier if said.get(name) != earlier.get(name))
    if others or not features:
        raise SystemExit(
            f"{path}: blocks of other settings lie in this folder, they differ in "
            f"{', '.join([*others, *([] if features else ['features'])])}; give another one with "
            "--out"
        )


# Tables.

#: (prediction, variant) -> verdict that the world's plant should give, along regions and time.
PLANTED: dict[str, dict[str, dict[tuple[str, str], str]]] = {
    "feedforward": {
        "roi": {("A1", "raw"): "supported"},
        "time": {("A1", "raw"): "supported"},
    },
    "backprop": {
        "roi": {
            **{(name, "raw"): "supported" for name in ("A1", "P1")},
            **{(name, "unique"): "supported" for name in ("P1", "P5", "C1", "C2")},
        },
        "time": {
            **{(name, "raw"): "supported" for name in ("A1", "P1")},
            **{(name, "unique"): "supported" for name in ("P1", "P3", "P4", "C1", "C2")},
        },
    },
    "paper_pattern": {
        "roi": {
            **{(name, "raw"): "supported" for name in ("A1", "P1", "P2")},
            **{(name, "unique"): "supported" for name in ("P1", "P2", "C1", "C2")},
            ("P5", "unique"): "contradicted",
        },
        "time": {
            **{(name, "raw"): "supported" for name in ("A1", "P1")},
            **{(name, "unique"): "supported" for name in ("P1", "P3", "C1", "C2")},
            ("P4", "unique"): "contradicted",
        },
    },
}
#: Verdicts that are wrong of a signal that is not there: no share of it is one that is too small.
WRONG = {"C1": ("supported",), "C2": ("supported",)}
ALWAYS_WRONG = ("supported", "contradicted")
VERDICTS = ("supported", "contradicted", "undetermined")
MODALITY = {"roi": "fMRI", "time": "MEG"}
ROW = ["axis", "prediction", "variant"]
LEVEL = 0.05
# Aims: of what is planted, of orders of activations and of raw prediction.
AIMS = {("A1", "raw"): 0.9, ("P1", "raw"): 0.9}
AIM = 0.8


def read_blocks(folder: Path) -> pd.DataFrame:
    """Claims of all seeds that are there, in blocks or kept."""
    parts = [pd.read_csv(path) for path in sorted(folder.glob("*.csv"))]
    if (folder / KEPT_FILE).exists():
        parts.append(pd.read_parquet(folder / KEPT_FILE))
    if not parts:
        raise SystemExit(f"{folder}: holds no block yet; run some first")
    found = pd.concat(parts, ignore_index=True)
    return found.drop_duplicates(["dataset", "seed", *ROW], ignore_index=True)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p over a family (Holm 1979, *Scandinavian Journal of Statistics* 6:65)."""
    order = np.argsort(p)
    steps = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


def share(hits: int, n: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = binomtest(hits, n).proportion_ci()
    return f"{hits / n:.2f} [{low:.2f}, {high:.2f}]"


def is_wrong(claims: pd.DataFrame) -> pd.Series:
    """Verdicts that are wrong where the signal is not there."""
    wrong = [
        verdict in WRONG.get(prediction, ALWAYS_WRONG)
        for verdict, prediction in zip(claims["verdict"], claims["prediction"], strict=True)
    ]
    return pd.Series(wrong, index=claims.index)


def absent_rows(claims: pd.DataFrame) -> tuple[list[tuple[Any, pd.DataFrame]], list[float]]:
    """Rows of the feedforward brain that speak of what is not there, with p by Holm.

    P is that of so many wrong verdicts at a rate of .05, exact binomial.
    """
    absent = claims[(claims["world"] == "feedforward") & (claims["prediction"] != "A1")]
    absent = absent[absent["verdict"] != "descriptive"]
    rows = list(absent.groupby(ROW, sort=True))
    tests = [
        float(binomtest(int(is_wrong(own).sum()), len(own), LEVEL, alternative="greater").pvalue)
        for _, own in rows
    ]
    return rows, holm(tests)


def null_table(claims: pd.DataFrame) -> Iterator[str]:
    """Rows of the feedforward brain that speak of what is not there."""
    rows, tests = absent_rows(claims)
    hits = [int(is_wrong(own).sum()) for _, own in rows]
    yield (
        "| claim | variant | modality | wrong | above .05: p by Holm | p ≤ .05 before any gate "
        "| reasons |"
    )
    yield "|---|---|---|---|---|---|---|"
    for ((axis, name, variant), own), hit, p in zip(rows, hits, tests, strict=True):
        tested = own["p"].dropna()
        early = f"{int((tested <= LEVEL).sum())} of {len(tested)}"
        yield (
            f"| {name} | {variant} | {MODALITY[str(axis)]} | {share(hit, len(own))} | {p:.2f} "
            f"| {early} | {reasons(own)} |"
        )
    pooled, n = sum(hits), sum(len(own) for _, own in rows)
    absent = pd.concat([own for _, own in rows])
    seeds = is_wrong(absent).groupby(absent["seed"]).any()
    yield (
        f"\nPooled over rows: {pooled} of {n} ({pooled / n:.3f}); brains with any wrong verdict: "
        f"{share(int(seeds.sum()), len(seeds))}."
    )


def reasons(claims: pd.DataFrame) -> str:
    """Why rows have no verdict, with how often."""
    counts = claims["reason"].dropna().value_counts()
    return ", ".join(f"`{code}` {count}" for code, count in counts.items()) or "–"


def planted_table(claims: pd.DataFrame) -> Iterator[str]:
    """Rows whose verdict is planted."""
    yield (
        "| brain | claim | variant | modality | planted | as planted | aim "
        "| p of so few at the aim | opposite | reasons |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for world, axis, name, variant, planted in planted_rows():
        own = _rows(claims, world, axis, name, variant)
        if own.empty:
            continue
        hits = int((own["verdict"] == planted).sum())
        other = int(own["verdict"].isin({"supported", "contradicted"} - {planted}).sum())
        aim = AIMS.get((name, variant), AIM)
        p = float(binomtest(hits, len(own), aim, alternative="less").pvalue)
        met = "met" if hits / len(own) >= aim else "**missed**" if p <= LEVEL else "below"
        yield (
            f"| {world} | {name} | {variant} | {MODALITY[axis]} | {planted} "
            f"| {share(hits, len(own))} | {aim:.1f}: {met} | {p:.2f} | {other} of {len(own)} "
            f"| {reasons(own)} |"
        )


def statements(claims: pd.DataFrame) -> Iterator[str]:
    """What was promised, and whether it holds of the seeds that are there."""
    rows, tests = absent_rows(claims)
    above = [key for (key, _), p in zip(rows, tests, strict=True) if p <= LEVEL]
    wrong = pd.concat([is_wrong(own) for _, own in rows])
    yield (
        f"- *No row of the feedforward brain above .05*: {len(above)} of {len(rows)} rows are "
        f"(Holm)."
    )
    yield (
        f"- *Pooled rate of at most .05*: {wrong.mean():.3f} ({int(wrong.sum())} of {len(wrong)})."
    )
    for aim, what in ((0.9, "A1 and raw P1 in .9 of seeds"), (0.8, "other planted claims in .8")):
        counts: dict[str, list[str]] = {"met": [], "open": [], "missed": []}
        for world, axis, name, variant, planted in planted_rows():
            own = _rows(claims, world, axis, name, variant)
            if own.empty or AIMS.get((name, variant), AIM) != aim:
                continue
            hits, n = int((own["verdict"] == planted).sum()), len(own)
            p = float(binomtest(hits, n, aim, alternative="less").pvalue)
            found = "met" if hits / n >= aim else "missed" if p <= LEVEL else "open"
            counts[found].append(f"{name} {variant} {MODALITY[axis]} {world} {hits / n:.2f}")
        yield (
            f"- *{what}*: {len(counts['met'])} rows are as often; below it, but so few would be "
            f"seen at the aim with p > .05: {'; '.join(counts['open']) or 'none'}; missed: "
            f"{'; '.join(counts['missed']) or 'none'}."
        )


def other_table(claims: pd.DataFrame) -> Iterator[str]:
    """Rows with verdicts of which the plant says nothing."""
    yield "| brain | claim | variant | modality | supported | contradicted | undetermined |"
    yield "|---|---|---|---|---|---|---|"
    judged = claims[claims["verdict"] != "descriptive"]
    for (world, axis, name, variant), own in judged.groupby(["world", *ROW], sort=True):
        told = (name, variant) in PLANTED[str(world)][str(axis)]
        if told or world == "feedforward":
            continue
        counts = " | ".join(f"{np.mean(own['verdict'] == one):.2f}" for one in VERDICTS)
        yield f"| {world} | {name} | {variant} | {MODALITY[str(axis)]} | {counts} |"


def answer_table(claims: pd.DataFrame) -> Iterator[str]:
    """First word of the report's answer, of fMRI and MEG together."""
    told = claims.assign(
        role=LEARNING, model="network", signal="learning", reason=claims["reason"].fillna("")
    )
    words = ("Yes", "Yes, in part", "Mixed", "Undecided", "No, in part", "No")
    yield f"| brain | {' | '.join(words)} |"
    yield f"|---|{'---|' * len(words)}"
    for world in PLANTED:
        seeds = told[told["world"] == world].groupby("seed")
        found = [answer(own).partition(":")[0] for _, own in seeds]
        yield f"| {world} | {' | '.join(str(found.count(word)) for word in words)} |"


def size_table(claims: pd.DataFrame) -> Iterator[str]:
    """What C1 could have seen."""
    yield (
        "| brain | modality | estimate | upper bound | smallest detectable share | p(share > .05) |"
    )
    yield "|---|---|---|---|---|---|"
    for (world, axis), own in claims[claims["prediction"] == "C1"].groupby(["world", "axis"]):
        columns = ("estimate", "upper_share", "detectable_share", "p")
        cells = [
            f"{own[name].median():.3f} ({own[name].quantile(0.05):.3f} to "
            f"{own[name].quantile(0.95):.3f})"
            for name in columns
        ]
        yield f"| {world} | {MODALITY[str(axis)]} | {' | '.join(cells)} |"


def coverage_table(claims: pd.DataFrame) -> Iterator[str]:
    """How often the interval of a row holds the mean of its brain's estimates over seeds."""
    yield "| claim | variant | modality | brains × seeds | interval holds the mean | median width |"
    yield "|---|---|---|---|---|---|"
    known = claims[np.isfinite(claims["ci_low"]) & np.isfinite(claims["ci_high"])]
    mean = known.groupby(["world", *ROW])["estimate"].transform("mean")
    known = known.assign(
        holds=(known["ci_low"] <= mean) & (mean <= known["ci_high"]),
        width=known["ci_high"] - known["ci_low"],
    )
    for (axis, name, variant), own in known.groupby(ROW, sort=True):
        yield (
            f"| {name} | {variant} | {MODALITY[str(axis)]} | {len(own)} "
            f"| {share(int(own['holds'].sum()), len(own))} | {own['width'].median():.2g} |"
        )


def control_table(claims: pd.DataFrame) -> Iterator[str]:
    """Verdicts on A1, P1, C1 and C2 of the positive controls, data set by data set."""
    yield (
        "| brain | claim | seeds | supported | contradicted | undetermined | estimate "
        "| upper bound |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    asked = claims[
        claims["prediction"].isin(["A1", "P1", "C1", "C2"]) & (claims["verdict"] != "descriptive")
    ]
    for (dataset, name, variant), own in asked.groupby(["dataset", "prediction", "variant"]):
        counts = " | ".join(share(int((own["verdict"] == one).sum()), len(own)) for one in VERDICTS)
        bound = f"{own['upper_share'].median():.3f}" if own["upper_share"].notna().any() else "–"
        yield (
            f"| {dataset} | {name}, {variant} | {len(own)} | {counts} "
            f"| {own['estimate'].median():.3f} | {bound} |"
        )


def design_table(folders: Sequence[Path]) -> Iterator[str]:
    """Rows that the study's own size cannot tell, under other designs."""
    yield (
        "| layers | signal, fMRI | signal, MEG | brain | claim | modality | as planted | opposite "
        "| seeds | reasons |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for folder in folders:
        said = json.loads((folder / "settings.json").read_text())
        shares = {axis: _explainable(said, axis) for axis in MODALITY}
        claims = read_blocks(folder)
        for world, axis, name, variant, planted in planted_rows():
            own = _rows(claims, world, axis, name, variant)
            if own.empty:
                continue
            hits = int((own["verdict"] == planted).sum())
            other = int(own["verdict"].isin({"supported", "contradicted"} - {planted}).sum())
            yield (
                f"| {len(said['layers'])} | {shares['roi']} | {shares['time']} | {world} "
                f"| {name}, {variant} | {MODALITY[axis]} | {share(hits, len(own))} | {other} "
                f"| {len(own)} | {reasons(own)} |"
            )


def _explainable(said: dict, axis: str) -> float:
    """Share of signal of the brains of a run, along an axis."""
    for name, options in said["brains"].items():
        if said["axes"][name] == axis and options["explainable_variance"] is not None:
            return float(options["explainable_variance"])
    return simulated.EXPLAINABLE_VARIANCE[axis]


def planted_rows() -> Iterator[tuple[str, str, str, str, str]]:
    """World, axis, prediction, variant and verdict of all that is planted."""
    for world, axes in PLANTED.items():
        for axis, rows in axes.items():
            for (name, variant), planted in sorted(rows.items()):
                yield world, axis, name, variant, planted


def _rows(claims: pd.DataFrame, world: str, axis: str, name: str, variant: str) -> pd.DataFrame:
    own = claims[claims["world"] == world]
    return own[(own[ROW] == [axis, name, variant]).all(axis=1)]


def _after(text: str, heads: Sequence[str]) -> str:
    """What of a text begins with the first line that starts like one of some heads."""
    lines = text.splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith(tuple(heads))), len(lines))
    return "\n".join(lines[first:]).strip()


def tables(arguments: argparse.Namespace) -> None:
    """Write the tables of all blocks between the marks of the documentation."""
    claims = read_blocks(arguments.out)
    seeds = claims.groupby("world")["seed"].nunique()
    seconds = claims.drop_duplicates(["world", "seed"]).groupby("world")["cpu_s"].mean()
    hours = 300 * seconds.sum() / 2 / 3600
    said = ", ".join(f"{world} {seeds[world]} ({seconds[world]:.1f} s)" for world in PLANTED)
    parts = [
        f"Seeds so far and processor time of each: {said}; 300 of each take {hours:.1f} hours on "
        "two cores.",
        "\n".join(statements(claims)),
        "What is not there (feedforward brain, all rows that are judged but A1):",
        "\n".join(null_table(claims)),
        "What is planted:",
        "\n".join(planted_table(claims)),
        "Rows of which the plant says nothing (share of seeds):",
        "\n".join(other_table(claims)),
        "The answer that the report of such a study opens with, in how many seeds:",
        "\n".join(answer_table(claims)),
        "C1, in shares of the explainable variance; medians and, in brackets, 5 and 95 % of seeds:",
        "\n".join(size_table(claims)),
        "Intervals (95 %) against the mean over the seeds of a brain, whose people and noise are "
        "others and whose images are the same:",
        "\n".join(coverage_table(claims)),
    ]
    for folder in arguments.nulls:
        said = json.loads((folder / "settings.json").read_text())
        found = read_blocks(folder)
        n_vertices = next(iter(said["brains"].values()))["vertices_per_region"]
        head = (
            f"The same of {said['people'] or 6} people and {2 * n_vertices} voxels per region, "
            f"{found['seed'].nunique()} seeds:"
        )
        parts += [head, "\n".join(null_table(found))]
    if arguments.others:
        parts += ["Other designs:", "\n".join(design_table(arguments.others))]
    if arguments.controls:
        controls = "\n".join(control_table(read_blocks(arguments.controls)))
        parts += ["Positive controls:", controls]
    page = DOCS.read_text()
    start, stop = (page.index(mark) for mark in MARKS)
    if not (arguments.nulls or arguments.others or arguments.controls):
        # Those of folders that are not given stay as they are.
        parts += [
            _after(page[start:stop], ("The same of ", "Other designs:", "Positive controls:"))
        ]
    text = "\n\n".join(part for part in parts if part)
    page = page[: start + len(MARKS[0])] + "\n\n" + text + "\n\n" + page[stop:]
    write_text(DOCS, page)
    print(f"{DOCS}: {len(claims['seed'].unique())} seeds", file=sys.stderr)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "keep", "tables"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the blocks")
    parser.add_argument("--config", default=CONFIG, help="study of simulated brains")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="folder whose results/ has features and stimuli"
    )
    parser.add_argument(
        "--layers", nargs="+", default=[], help="layers of the network; else those of the study"
    )
    parser.add_argument(
        "--explainable",
        nargs="+",
        default=[],
        type=lambda text: tuple(text.split("=")),
        metavar="AXIS=SHARE",
        help="share of signal along roi or time, in the place of that of the data sets",
    )
    parser.add_argument("--people", type=int, help="only the first so many of each data set")
    parser.add_argument("--vertices", type=int, help="vertices per region and hemisphere")
    parser.add_argument(
        "--nulls",
        type=Path,
        nargs="*",
        default=[],
        help="folders of feedforward brains, for tables",
    )
    parser.add_argument("--controls", type=Path, help="folder of positive controls, for tables")
    parser.add_argument(
        "--others", type=Path, nargs="*", default=[], help="folders of other designs, for tables"
    )
    parser.add_argument("--worlds", nargs="+", help="some of the worlds; else all")
    parser.add_argument("--seeds", type=int, default=300, help="seeds of each world")
    parser.add_argument("--block", type=int, default=2, help="seeds of a file")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    {"run": run, "keep": keep, "tables": tables}[arguments.what](arguments)


if __name__ == "__main__":
    main()
