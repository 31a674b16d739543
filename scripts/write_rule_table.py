"""Write the tables of docs/learning_rules.md: what each rule is on each family of networks.

Each cell is measured on a small untrained network of the family. ``refused``: planning or
extraction refuses the rule by name. ``degenerate``: it gives, at every layer, what something
simpler gives: backpropagation, the activation, or one number. Else ``approximated`` or ``exact``,
as the rule says of the case. A signal is in the span of the baseline where a linear regression on
all layers' activations, pooled as the signal is, leaves nothing of it; it is a fixed matrix where a
linear regression of its first layer on its last one leaves nothing, whatever the image.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
import pandas as pd
import torch
from torch import nn

from gradbrain.config import GradbrainError, cli
from gradbrain.config.plugins import LIBRARY_PLUGINS, RuleCase, check_rule
from gradbrain.config.registries import Registries
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.figures.rule_ranking import is_taught
from gradbrain.models.build import VisionModel, build_model, freeze
from gradbrain.models.layers import kind_of_weights, list_layers
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.needs import uses_of
from gradbrain.signals.pooling import layout_of
from gradbrain.signals.rule import FitContext
from gradbrain.store import (
    FeatureStore,
    SignalIdentity,
    open_layers,
    read_tables,
    write_text,
)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "learning_rules.md"
SIGNAL_SET = "learning_rules"
ACTIVATION, BACKPROP = "activation", "backprop"
SIZE = 64
#: Family -> entry of a small network, and the objective where it has no classifier.
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "ResNet": {"architecture": "test_resnet"},
    "EfficientNet": {"architecture": "test_efficientnet"},
    "ConvNeXt": {"architecture": "test_convnext"},
    "ViT": {"architecture": "test_vit", "kwargs": {"img_size": SIZE}},
    "OWL-ViT": {"architecture": "test_owlvit", "source": "transformers"},
    "NFNet": {"architecture": "test_nfnet"},
}
# Of a network without a classifier.
FEATURE_OBJECTIVE = {"objective": "dino", "options": {"views": {"n_views": 2}}}
#: q at which a difference between networks is told in bold.
LEVEL = 0.05
#: Cosine and share of variance from which on two signals are one and the same.
SAME, IN_SPAN = 1 - 1e-4, 1 - 1e-5


class SmallNetwork(nn.Module):
    """Two convolutions and a classifier, for the span of the baseline: ten pooled activations."""

    num_classes = 5

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.classifier = nn.Linear(6, 5)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) to (B, 6, S / 4, S / 4)."""
        hidden = nn.functional.gelu(self.first(images))
        return nn.functional.gelu(self.second(hidden))

    def forward_head(self, hidden: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Mean over positions, or logits."""
        features = hidden.mean((2, 3))
        return features if pre_logits else self.classifier(features)

    def get_classifier(self) -> nn.Module:
        """Last layer."""
        return self.classifier


@dataclass(frozen=True)
class Network:
    """A network, its layers, and images that it is shown."""

    model: VisionModel
    layers: tuple[str, ...]
    images: ImageBatch
    bank: CalibrationBank

    def case(self, signal: SignalEntry, signal_set: SignalSet) -> RuleCase:
        """What planning would know."""
        shapes = self.shapes()
        layouts = (layout_of(self.model, name, shapes[name]).word for name in self.layers)
        return RuleCase(
            role=signal.role,
            normalise=signal_set.normalise_of(signal),
            layouts=tuple(layouts),
            weights=kind_of_weights(self.model.module),
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every layer's output."""
        found = self.extractor(SignalEntry(name=ACTIVATION, role="activation", rule=ACTIVATION))
        return found.recorder.shapes

    def extractor(self, *signals: SignalEntry) -> SignalExtractor:
        """Extractor of signals, whose models are fitted here."""
        chosen = SignalSet(name="table", signals=signals)
        uses = uses_of(signals, LIBRARY_PLUGINS)
        fitted = {}
        for signal in signals:
            rule, *objective = uses[signal.name]
            if "fit" in rule.needs:
                use = objective[0] if objective else None
                context = FitContext(signal, rule.options, self.model, self.bank, self.layers, use)
                fitted[signal.name] = rule.plugin.load().fit(context)
        return SignalExtractor(
            self.model, self.layers, chosen, self.bank, chain=self.layers, fitted=fitted
        )

    def signals(self, entry: SignalEntry) -> dict[str, torch.Tensor]:
        """Layer -> what a signal is there, whole tensors."""
        extractor = self.extractor(entry)
        (source,) = extractor.sources
        bound = source.bind(self.images, disturbed=False)
        outputs = (source.objective.output,) if source.objective else ()
        tape = extractor.recorder.record(self.images, outputs, graph=source.graph)
        found = source.take(tape, bound, keep_graph=False).layers
        return {name: found[name].detach() for name in self.layers}


def smooth_images(n_images: int, size: int, seed: int, prefix: str) -> ImageBatch:
    """Draw images of coarse random colours."""
    coarse = torch.from_numpy(np.random.default_rng(seed).uniform(size=(n_images, 3, 6, 6)))
    raw = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").float()
    names = tuple(f"{prefix}{index}" for index in range(n_images))
    return ImageBatch(names, raw, torch.full((n_images,), -1), (None,) * n_images)


@cache
def network_of(family: str) -> Network:
    """Build the small network of a family."""
    found = FAMILIES[family]
    entry = ModelEntry(
        name=family, weights={"source": "random", "seed": 0}, input_size=SIZE, **found
    )
    model = build_model(entry)
    layers = tuple(list_layers(entry.architecture)["layer"])
    calibration = smooth_images(10, SIZE, 1, "calibration")
    bank = CalibrationBank(model, lambda: iter([calibration]))
    return Network(model, layers, smooth_images(4, SIZE, 0, "stimulus"), bank)


@cache
def small_network() -> Network:
    """Build the network that the span is measured on, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = freeze(SmallNetwork().double())
    entry = ModelEntry(
        name="small", architecture="none", weights={"source": "random"}, input_size=16
    )
    model = VisionModel(module, entry, dtype=torch.float64)
    images, calibration = (
        batch.with_raw(batch.raw.double())
        for batch in (
            smooth_images(120, 16, 0, "stimulus"),
            smooth_images(40, 16, 1, "calibration"),
        )
    )
    bank = CalibrationBank(model, lambda: iter([calibration]))
    return Network(model, ("first", "second"), images, bank)


@cache
def entries() -> tuple[SignalSet, tuple[SignalEntry, ...]]:
    """One signal of every rule of the registry's set, and of its options that make another rule."""
    registries = Registries([ROOT / "config"])
    found = registries.signal_set(SIGNAL_SET, where="write_rule_table.py")
    kept: dict[str, SignalEntry] = {}
    for signal in found.signals:
        shown = {key: value for key, value in signal.rule_options.items() if key != "seed"}
        if signal.rule == BACKPROP and signal.role != "learning":
            continue
        kept.setdefault(f"{signal.rule} {shown}", signal)
    return found, tuple(kept.values())


def name_of(signal: SignalEntry) -> str:
    """Rule with the options that make it another."""
    shown = {key: value for key, value in signal.rule_options.items() if key != "seed"}
    words = ", ".join(f"{key}: {value}" for key, value in shown.items())
    return f"`{signal.rule}`" + (f" ({words})" if words else "")


def _but_for_the_seed(signal: SignalEntry) -> str:
    """All that makes a signal what it is, but for the seed of its rule and how it is shown."""
    options = {key: value for key, value in signal.rule_options.items() if key != "seed"}
    shown = {"name", "label", "colour", "control_of"}
    entry = signal.model_copy(update={"rule_options": options})
    return entry.model_dump_json(exclude=shown)


def fitting(signal: SignalEntry, network: Network) -> SignalEntry:
    """Give the signal an objective that the network has an output for."""
    if signal.objective is None or network.model.n_classes:
        return signal
    return signal.model_copy(update=FEATURE_OBJECTIVE)


def state_of(signal: SignalEntry, family: str) -> str:
    """What a rule is on a family: a word, and the reason where it is not exact."""
    network, (signal_set, _) = network_of(family), entries()
    signal = fitting(signal, network)
    case = network.case(signal, signal_set)
    (use, *_) = uses_of([signal], LIBRARY_PLUGINS)[signal.name]
    try:
        check_rule(use, case, where=family)
        found = network.signals(signal)
    except GradbrainError:
        return "refused"
    if signal.rule in (ACTIVATION, BACKPROP):
        return "exact"
    simpler = simpler_than(signal, network, found)
    if simpler:
        return f"degenerate ({simpler})"
    return "approximated" if use.options.approximation(case) else "exact"


def simpler_than(signal: SignalEntry, network: Network, found: Mapping[str, torch.Tensor]) -> str:
    """What a signal is at every layer, where that is something simpler."""
    if all(is_one_number(tensor) for tensor in found.values()):
        return "one number"
    others = [SignalEntry(name=ACTIVATION, role="activation", rule=ACTIVATION)]
    if signal.objective is not None:
        others.insert(0, signal.model_copy(update={"rule": BACKPROP, "rule_options": {}}))
    for other in others:
        same = network.signals(other)
        if all(is_same(found[name], same[name], signal) for name in found):
            return other.rule
    return ""


def is_same(first: torch.Tensor, second: torch.Tensor, signal: SignalEntry) -> bool:
    """Whether two signals are one but for a factor, of each image or, as length counts, of all."""
    if signal.normalise == "none":
        first, second = first[None], second[None]
    return bool((cosine(first, second).abs() > SAME).all())


def is_one_number(tensor: torch.Tensor) -> bool:
    """Whether all units of an image have the same value."""
    flat = tensor.flatten(1)
    return bool(((flat - flat[:, :1]).abs() <= 1e-6 * flat.abs().amax(1, keepdim=True)).all())


def cosine(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosine of each image, (B,)."""
    return nn.functional.cosine_similarity(first.flatten(1).double(), second.flatten(1).double())


def in_span(signal: SignalEntry) -> bool:
    """Whether regression on all layers' pooled activations leaves nothing of a pooled signal."""
    network = small_network()
    activations = network.signals(SignalEntry(name="a", role="activation", rule=ACTIVATION))
    pooled = torch.cat([tensor.mean((2, 3)) for tensor in activations.values()], dim=1)
    design = torch.cat([pooled, torch.ones(len(pooled), 1)], dim=1).numpy()
    for tensor in network.signals(signal).values():
        wanted = tensor.mean((2, 3)).numpy()
        wanted = wanted - wanted.mean(0)
        left = wanted - design @ np.linalg.lstsq(design, wanted)[0]
        if 1 - np.square(left).sum() / np.square(wanted).sum() < IN_SPAN:
            return False
    return True


def is_fixed(signal: SignalEntry) -> bool:
    """Whether one matrix turns the last layer's signal into the first one's, whatever the image."""
    found = small_network().signals(signal)
    above, below = (found[name].flatten(1).numpy() for name in ("second", "first"))
    design = np.hstack([above, np.ones((len(above), 1))])
    solution, _, rank, _ = np.linalg.lstsq(design, below)
    if rank == len(design):
        raise GradbrainError(f"{signal.rule}: {len(design)} images are too few to tell")
    left = below - design @ solution
    spread = np.square(below - below.mean(0)).sum()
    return bool(np.square(left).sum() <= (1 - IN_SPAN) * spread)


def rows() -> Iterator[list[str]]:
    """Rows of the table: rule, its state on each family, whether in the span, whether fixed."""
    for signal in entries()[1]:
        states = [state_of(signal, family) for family in FAMILIES]
        told = ["yes" if holds(signal) else "no" for holds in (in_span, is_fixed)]
        yield [name_of(signal), *states, *told]


def table() -> str:
    """The table as Markdown."""
    head = ["rule", *FAMILIES, "in the span of activations", "a fixed matrix"]
    lines = [head, ["---"] * len(head), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replaced(text: str, name: str, content: str) -> str:
    """Put content between the markers of a name."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise GradbrainError(f"{PAGE}: lacks the markers {start} and {end}; put them back")
    return f"{before}{start}\n{content}\n{end}{after}"


def cosine_table(stores: list[Path]) -> str:
    """Cosine of each signal with backpropagation, layer by layer, as feature stores hold it.

    Of signals that differ by a seed alone: the mean, and the standard deviation over seeds. Those
    of one rule that differ in more, such as a rule and its control, have a line each.
    """
    layers = open_layers(stores)
    groups: dict[str, list[SignalIdentity]] = {}
    names: dict[str, str] = {}
    for entry, signal in zip(_entries_of(layers[0]), layers[0].signals, strict=True):
        key = _but_for_the_seed(entry)
        taken = key not in groups and name_of(entry) in names.values()
        names.setdefault(key, f"{name_of(entry)}, as `{entry.name}`" if taken else name_of(entry))
        groups.setdefault(key, []).append(signal)
    lines = [["rule", *(store.layer for store in layers)]]
    lines.append(["---"] * len(lines[0]))
    for key, signals in groups.items():
        name = names[key]
        with np.errstate(all="ignore"):
            means = [
                [float(np.mean(store.cosine_with_backprop(one))) for store in layers]
                for one in signals
            ]
        if np.isfinite(means).any():
            lines.append(
                [name, *(_mean_and_spread(list(cell)) for cell in zip(*means, strict=True))]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def training_table(tables: list[Path]) -> str:
    """Angle with the gradient after training, layer by layer, as tables of trainings hold it.

    Of networks that differ by their seed alone: the mean, and the standard deviation over seeds.

    Raises
    ------
    GradbrainError
        Two networks have rule and seed in common: what else they differ in, tables do not say.
    """
    rows = read_tables("training", tables)
    for (rule, seed), group in rows.groupby(["learning_rule", "seed"]):
        models = sorted(group["model"].unique())
        if len(models) > 1:
            raise GradbrainError(
                f"--training: {', '.join(models)}: all trained by {rule} with seed {seed}, so that "
                "they differ in more than their seed; give the table of one of them"
            )
    last = rows[rows["step"] == rows.groupby("model")["step"].transform("max")]
    layers = list(dict.fromkeys(last.sort_values("depth")["layer"]))
    head = ["rule that trains", "R²", *layers, "inverses, R²"]
    lines = [head, ["---"] * len(head)]
    for (rule, correction), group in last.groupby(["learning_rule", "correction"], sort=True):
        name = f"`{rule}`" + (f", {correction}" if correction else "")
        cells = [list(group[group["layer"] == layer]["angle"]) for layer in layers]
        of_network = group.groupby("model")[["r2", "inverse_r2"]].mean()
        lines.append(
            [
                name,
                _mean_and_spread(list(of_network["r2"])),
                *(_mean_and_spread(cell, digits=0) for cell in cells),
                _mean_and_spread(list(of_network["inverse_r2"])),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ranking_table(path: Path) -> str:
    """Table of learning rules and controls of a study, as the figure ``rule_ranking`` ranks them.

    Parameters
    ----------
    path
        Table behind that figure.

    Returns
    -------
    str
        For each data set and model a heading and a table, in Markdown.
    """
    data = _read(path).fillna({"same_as": "", "reason": "", "verdict": ""})
    data = data[data["role"] != ACTIVATION]
    parts = []
    for (dataset, model), own in data.groupby(["dataset", "model"], sort=False):
        lines = [
            f"`{dataset}`, `{model}`:",
            "",
            "| rank | signal | r, alone | unique part, % of the explainable | bounds, % "
            "| found in 80 % from, % | C1 | cosine with the gradient |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for signal in _in_order(own):
            rows = own[own["signal"] == signal].drop_duplicates("criterion").set_index("criterion")
            lines.append("| " + " | ".join(_ranking_cells(signal, rows)) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def pairing_table(path: Path) -> str:
    """Unique part of every rule on networks by the rule that trained them.

    Parameters
    ----------
    path
        Table behind the figure ``rule_ranking`` of a study that trains networks.

    Returns
    -------
    str
        Of each data set a table in Markdown: a row per learning signal, a column per rule that
        trained networks, in percent of what can be explained with 95 % intervals over people. Of
        several networks of one rule (seeds) the mean and standard deviation over them. Bold: the
        rule that trained the network. Empty where the study trained none.
    """
    data = _read(path).fillna({"trained_by": ""})
    unique = data[(data["criterion"] == "unique part") & (data["role"] == "learning")]
    unique = unique[unique["trained_by"] != ""]
    parts = []
    for dataset, own in unique.groupby("dataset", sort=False):
        trained = sorted(own["trained_by"].unique())
        head = [f"`{dataset}`: rule", *(f"`{rule}`" for rule in trained)]
        lines = [head, ["---"] * len(head)]
        for signal in dict.fromkeys(own.sort_values("rank", kind="stable")["signal"]):
            of_signal = own[own["signal"] == signal]
            cells = [_pairing_cell(of_signal[of_signal["trained_by"] == rule]) for rule in trained]
            lines.append([f"`{signal}`", *cells])
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)


def contrast_table(paths: Sequence[Path]) -> str:
    """What each signal predicts alone, in networks that differ in one factor.

    Parameters
    ----------
    paths
        Tables ``model_contrasts.csv`` of studies of one data set.

    Returns
    -------
    str
        A table in Markdown: a row per signal, the activation first, a column per contrast, in it r
        of both sides and their difference with its 95 % interval; bold where q is at most .05.
    """
    data = pd.concat([_read(path) for path in paths], ignore_index=True)
    data = data[data["roi"].isna() & (data["method"] == "encoding") & (data["variant"] == "raw")]
    names = list(dict.fromkeys(data["contrast"]))
    lines = [["signal", *names]]
    lines.append(["---"] * len(lines[0]))
    for (_, signal), own in data.groupby([data["role"] != ACTIVATION, "signal"], sort=True):
        rows = own.drop_duplicates("contrast").set_index("contrast")
        cells = [_contrast_cell(rows.loc[name]) if name in rows.index else "–" for name in names]
        lines.append([f"`{signal}`", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _read(path: Path) -> pd.DataFrame:
    """Read a table behind a figure or of contrasts."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise GradbrainError(
            f"{path}: cannot be read ({error}); make it with the study's snakemake command first"
        ) from error


def _contrast_cell(row: pd.Series) -> str:
    """Both sides, their difference and its interval where there is one."""
    text = f"{row['estimate']:.3f}"
    if np.isfinite(row["ci_low"]):
        text += f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    text = f"**{text}**" if row["q"] <= LEVEL else text
    return f"{row['mean_a']:.3f}, {row['mean_b']:.3f}: {text}".replace("-", "−")


def _pairing_cell(rows: pd.DataFrame) -> str:
    """Unique part of one rule on the networks that another one trained, in percent."""
    known = rows[rows["estimate"].notna()]
    if known.empty:
        return "–"
    shares = 100 * known["estimate"]
    if len(known) > 1:
        text = _mean_and_spread(list(shares), digits=1)
    else:
        low, high = (100 * float(known[end].iloc[0]) for end in ("ci_low", "ci_high"))
        text = f"{shares.iloc[0]:.1f} [{low:.1f}, {high:.1f}]"
    text = text.replace("-", "−")
    return f"**{text}**" if is_taught(known.iloc[0].to_dict()) else text


def _in_order(own: pd.DataFrame) -> list[str]:
    """Signals of one data set and model: rules by rank, then controls by their unique part."""
    about = own.drop_duplicates("signal").set_index("signal")
    unique = own[own["criterion"] == "unique part"].set_index("signal")["estimate"]

    def place(signal: str) -> tuple[bool, float, bool, float]:
        row = about.loc[signal]
        rank, share = row["rank"], unique.get(signal, np.nan)
        return (
            row["role"] != "learning",
            rank if np.isfinite(rank) else np.inf,
            row["same_as"] != "",
            -share if np.isfinite(share) else np.inf,
        )

    return sorted(about.index, key=place)


def _ranking_cells(signal: str, rows: pd.DataFrame) -> list[str]:
    """Cells of one signal."""

    def estimate(criterion: str, scale: float, digits: int) -> str:
        if criterion not in rows.index or not np.isfinite(rows.loc[criterion, "estimate"]):
            return "–"
        numbers = rows.loc[criterion, ["estimate", "ci_low", "ci_high"]].astype(float) * scale
        first, low, high = (f"{number:.{digits}f}".replace("-", "−") for number in numbers)
        return f"{first} [{low}, {high}]" if np.isfinite(numbers).all() else first

    def percent(name: str) -> str:
        value = rows[name].get("unique part", np.nan)
        return f"{100 * value:.0f}" if np.isfinite(value) else "–"

    first = rows.iloc[0]
    rank = "control" if first["role"] == "control" else "="
    if first["role"] == "learning" and not first["same_as"]:
        rank = f"{first['rank']:.0f}" if np.isfinite(first["rank"]) else "–"
    verdict = str(rows["verdict"].get("unique part", ""))
    reason = str(rows["reason"].get("unique part", ""))
    bounds = f"{percent('lower_share')} to {percent('upper_share')}"
    return [
        rank,
        f"`{signal}`",
        estimate("predictivity", 1, 3),
        estimate("unique part", 100, 1),
        "–" if "–" in bounds else bounds,
        percent("detectable_share"),
        f"{verdict} (`{reason}`)" if reason else verdict or "–",
        estimate("cosine", 1, 2),
    ]


def _entries_of(store: FeatureStore) -> list[SignalEntry]:
    return [SignalEntry(**entry) for entry in store.attrs["signal_set_entry"]["signals"]]


def _mean_and_spread(values: list[float], digits: int = 2) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--features",
        type=Path,
        nargs="+",
        default=[],
        help="stores of one model's layers: write the table of cosines from them, and not that of "
        "families",
    )
    parser.add_argument(
        "--training",
        type=Path,
        nargs="+",
        default=[],
        help="tables of networks that the study trained (results/trained/*.parquet): write the "
        "table of their angles alone",
    )
    parser.add_argument(
        "--ranking",
        type=Path,
        help="table behind the figure rule_ranking of a study "
        "(results/<study>/figures/rule_ranking.csv): write it alone, and put the figure beside it "
        "into docs/figures",
    )
    parser.add_argument(
        "--pairing",
        type=Path,
        help="table behind the figure rule_ranking of a study that trains networks: print the "
        "unique part of each rule on networks by the rule that trained them, as Markdown",
    )
    parser.add_argument(
        "--contrasts",
        type=Path,
        nargs="+",
        default=[],
        help="tables of models that differ in one factor (results/<study>/model_contrasts.csv): "
        "write what signals predict in them alone",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Write one of the tables into the page, or print that of pairs of rules."""
    arguments = parser().parse_args(argv)
    if arguments.pairing:
        print(pairing_table(arguments.pairing))
        return
    text = PAGE.read_text(encoding="utf-8")
    if arguments.ranking:
        text = replaced(text, "ranking", ranking_table(arguments.ranking))
        picture = arguments.ranking.with_suffix(".png")
        (PAGE.parent / "figures" / picture.name).write_bytes(picture.read_bytes())
    elif arguments.contrasts:
        text = replaced(text, "contrasts", contrast_table(arguments.contrasts))
    elif arguments.training:
        text = replaced(text, "training", training_table(arguments.training))
    elif arguments.features:
        text = replaced(text, "cosines", cosine_table(arguments.features))
    else:
        text = replaced(text, "families", table())
    write_text(PAGE, text)


if __name__ == "__main__":
    cli.run(main)
