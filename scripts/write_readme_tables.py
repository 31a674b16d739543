"""Write the tables of results in README.md and docs/ from finished studies, between markers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
import pandas as pd
from PIL import Image
from scipy import stats

from gradbrain.config import GradbrainError, cli
from gradbrain.figures.inputs import with_text
from gradbrain.figures.names import Names
from gradbrain.figures.sensitivity import sentences
from gradbrain.hierarchy.second_opinion import counted
from gradbrain.store import read_table, write_text
from gradbrain.vocabulary.intervals import CONFIDENCE
from gradbrain.vocabulary.measures import JUDGED, R_NORMALISED, UNIQUE_VARIANCE, R
from gradbrain.vocabulary.reasons import REASONS
from gradbrain.vocabulary.roles import ACTIVATION, ROI, ROLES
from gradbrain.vocabulary.verdicts import AGREEMENTS

ROOT = Path(__file__).resolve().parents[1]
# Figure of the three brains that the README shows; the table is made of the numbers behind it.
WORLD_FIGURE = "three_brains"
CONTRAST_METHODS = {
    "encoding": "encoding, r",
    "rsa": "RSA, ρ",
    "encoding_rsa": "RSA of predictions",
}


def read_scores(results: Path, model: str) -> pd.DataFrame:
    """Scores of the signals of a model, without what they are held against."""
    scores = read_table(results / "scores" / f"{model}.parquet", kind="scores")
    return scores[scores["role"].isin(ROLES)]


def read_claims(results: Path) -> pd.DataFrame:
    """Claims of a study."""
    return with_text(read_table(results / "claims.csv", kind="claims"))


def mean_and_interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean over subjects with its 95 % interval (Student)."""
    half = (
        stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
        * values.std(ddof=1)
        / np.sqrt(len(values))
    )
    return values.mean(), values.mean() - half, values.mean() + half


def _reason(reason: str) -> str:
    """Why a row has no verdict, in brackets."""
    return f" ({REASONS[reason].short})" if reason else ""


def best_layer_cell(rows: pd.DataFrame) -> str:
    """Describe the layer with the highest mean: its score, interval and name."""
    means = rows.groupby("layer")["value"].mean()
    layer = means.idxmax()
    mean, low, high = mean_and_interval(rows[rows["layer"] == layer]["value"])
    return f"{mean:.3f} [{low:.3f}, {high:.3f}] ({layer})"


def score_table(results: Path, models: list[str]) -> list[str]:
    """Best layer per region: activations and every signal, raw and unique."""
    lines = [
        "| model | signal | measure | " + " | ".join(["EVC", "IT"]) + " |",
        "|---|---|---|---|---|",
    ]
    for model in models:
        scores = read_scores(results, model)
        signals = list(dict.fromkeys(scores["signal"]))
        for measure, label in ((R, "r"), (UNIQUE_VARIANCE, UNIQUE_VARIANCE.label)):
            for signal in signals:
                rows = scores[(scores["signal"] == signal) & (scores["measure"] == measure.name)]
                if rows.empty:
                    continue
                cells = [best_layer_cell(rows[rows["roi"] == roi]) for roi in ("EVC", "IT")]
                lines.append(f"| {model} | `{signal}` | {label} | {cells[0]} | {cells[1]} |")
    return lines


def layer_table(results: Path, models: list[str]) -> list[str]:
    """Score of each layer's activation in both regions, as it is and relative to the ceiling."""
    lines = [
        "| model | layer | EVC r | IT r | people with IT > EVC | EVC r/√c | IT r/√c |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in models:
        scores = read_scores(results, model)
        own = scores[scores["role"] == ACTIVATION]
        for layer, part in own.groupby("layer"):
            raw, relative = (
                part[part["measure"] == measure].pivot(
                    index="subject", columns="roi", values="value"
                )
                for measure in (R.name, R_NORMALISED.name)
            )
            cells = []
            for roi in ("EVC", "IT"):
                mean, low, high = mean_and_interval(raw[roi])
                cells.append(f"{mean:.3f} [{low:.3f}, {high:.3f}]")
            cells.append(f"{int((raw['IT'] > raw['EVC']).sum())} of {len(raw)}")
            for roi in ("EVC", "IT"):
                known = relative[roi].dropna()
                cells.append(f"{known.mean():.2f} ({len(known)} people)")
            lines.append(f"| {model} | {layer} | {' | '.join(cells)} |")
    return lines


def claims_table(claims: pd.DataFrame) -> list[str]:
    """Every verdict-bearing row of the claims."""
    lines = [
        "| prediction | model | signal | estimate | 95 % interval | bounds of the share | "
        "found from | q | n | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in claims.itertuples():
        q = "–" if not np.isfinite(row.q) else f"{row.q:.4f}"
        if row.verdict == "contradicted":
            q = f"{row.q_opposite:.4f} (opposite)"
        bounds, found = "", ""
        if np.isfinite(row.upper_share):
            bounds = f"{row.lower_share:.0%} to {row.upper_share:.0%}"
            found = f"{row.detectable_share:.0%}" if np.isfinite(row.detectable_share) else "–"
        lines.append(
            f"| {row.prediction} | {row.model} | `{row.signal}` "
            f"| {row.estimate:.3f} | [{row.ci_low:.3f}, {row.ci_high:.3f}] | {bounds} | {found} "
            f"| {q} | {row.n} | {row.verdict}{_reason(row.reason)} |"
        )
    return lines


def objects92_answer(results: Path) -> list[str]:
    """What real data say of the trained network's signals and what they could not say, in words."""
    claims, names = read_claims(results), Names.read(results / "entries.csv")
    trained = claims["model"].isin(_trained(claims))
    found = claims[trained & claims["prediction"].eq("C1") & claims["variant"].eq("unique")]
    shares = [
        f"{row.detectable_share:.0%} ({names.label('signal', row.signal)})"
        for row in found.itertuples()
    ]
    model = names.label("model", found["model"].iloc[0])
    people = int(claims["n"].max())
    return [
        f"**On real fMRI** ({people} people, 92 objects; {model}): gradients predict responses "
        f"({_verdicts_of(claims[trained], 'P1', 'raw', names)}). Whether they hold anything that "
        f"activations do not is {_verdicts_of(found, 'C1', 'unique', names)}: these data would "
        f"show a share of {' or '.join(shares)} of the explainable variance, and none smaller. "
        "[All scores and claims](docs/results.md#real-fmri).",
    ]


def _trained(claims: pd.DataFrame) -> list[str]:
    """Models whose activations' order carries a verdict: those that were trained."""
    judged = claims[claims["prediction"].eq("A1") & ~claims["verdict"].eq("descriptive")]
    return list(dict.fromkeys(judged["model"]))


def _verdicts_of(claims: pd.DataFrame, prediction: str, variant: str, names: Names) -> str:
    """Verdicts of a prediction: one word where all signals have the same, else one for each."""
    rows = claims[claims["prediction"].eq(prediction) & claims["variant"].eq(variant)]
    verdicts = list(dict.fromkeys(rows["verdict"]))
    if len(verdicts) == 1:
        return f"**{verdicts[0]}**"
    each = [f"{row.verdict} ({names.label('signal', row.signal)})" for row in rows.itertuples()]
    return " and ".join(each)


def objects92_scores(results: Path) -> list[str]:
    """Scores of all layers and signals."""
    claims = read_claims(results)
    models = list(dict.fromkeys(claims["model"]))
    n = int(claims["n"].max())
    return [
        f"n = {n} people, 92 images; mean over people [95 % interval]; EVC early visual, IT "
        "inferior temporal cortex; r/√c relative to the noise ceiling, of people whose ceiling is "
        "at least .1. Activations of each layer:",
        "",
        *layer_table(results, models),
        "",
        "Each signal at its best layer (by the mean over people, so optimistic), alone and as a "
        "held-out gain over the activations of all layers:",
        "",
        *score_table(results, models),
        "",
        "All claims:",
        "",
        *claims_table(claims[claims["estimate"].notna()]),
        "",
        *second_opinions_of(results),
    ]


def second_opinions_of(results: Path) -> list[str]:
    """The claims that are tested twice, and what the second test says."""
    opinions = read_table(results / "second_opinions.csv", kind="second_opinions")
    tested = opinions[opinions["agreement"].isin(list(AGREEMENTS))]
    rows = [
        f"| {row.prediction} | {row.model} | `{row.signal}` | {row.variant} | {row.first_verdict} "
        f"| {row.verdict} | {row.estimate:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}] |"
        for row in tested.itertuples()
    ]
    return [
        f"Second opinions, by the dissimilarities of held-out predictions: {counted(tested)}.",
        "",
        "| prediction | model | signal | variant | first | second | r, or order |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def other_choices(results: Path) -> list[str]:
    """The specification curve of a study, and which choice moves which verdict."""
    claims, universes = (
        with_text(read_table(results / "multiverse" / f"{name}.csv", kind=kind))
        for name, kind in (("claims", "specification_curve"), ("universes", "universes"))
    )
    copied = _copied(results, "specification_curve", results.name)
    found = sentences(claims, universes, Names.read(results / "entries.csv"))
    return [
        f"![Every verdict under other choices](figures/{copied.name})",
        "",
        *(f"- {group['subject']}: {' '.join(group['sentences'])}" for group in found),
    ]


def _copied(results: Path, figure: str, name: str) -> Path:
    """Put a figure of a study among those that the pages show, in 256 colours: a third as large."""
    copied = ROOT / "docs" / "figures" / f"{name}.png"
    copied.parent.mkdir(exist_ok=True)
    with Image.open(results / "figures" / f"{figure}.png") as drawn:
        drawn.convert("RGB").quantize(256).save(copied, optimize=True)
    return copied


def demo_figure(results: Path) -> list[str]:
    """Where activations predict the demo's brain, and where the gradient adds to them."""
    copied = _copied(results, "encoding_by_region", "demo_by_region")
    return [f"![The demo's brain by region and layer](docs/figures/{copied.name})"]


def worlds_figure(results: Path) -> list[str]:
    """The figure of the three brains, and how many verdicts are as planted."""
    data, models, names = _worlds(results)
    _copied(results, WORLD_FIGURE, WORLD_FIGURE)
    found = data[data["model"] == models[0]]
    wrong = found["verdict"].isin(["supported", "contradicted"]) & ~found["as_planted"]
    return [
        f"![What was planted in three brains, and what was found](docs/figures/{WORLD_FIGURE}.png)",
        "",
        f"Seen through {names.label('model', models[0])}: of {len(found)} verdicts "
        f"{int(found['as_planted'].sum())} are what was planted, {int(wrong.sum())} say something "
        f"else, and {int((~found['as_planted'] & ~wrong).sum())} are undetermined where something "
        "was planted ([table](docs/results.md#three-simulated-brains)). Figure and table are made "
        "by `make worlds`.",
    ]


def worlds_table(results: Path) -> list[str]:
    """Verdicts on the simulated brains side by side, beside what was planted in each."""
    data, models, names = _worlds(results)
    brains = list(dict.fromkeys(data["brain"]))
    lines = [
        "| prediction | data | " + " | ".join(brains) + " |",
        "|---|---|" + "---|" * len(brains),
    ]
    for (prediction, variant, axis), rows in data.groupby(
        ["prediction", "variant", "axis"], sort=False
    ):
        cells = []
        for brain in brains:
            own = rows[rows["brain"] == brain].set_index("model")
            cells.append(_world_cell(own, models) if len(own) else "–")
        kind = "fMRI" if axis == ROI else "MEG"
        lines.append(f"| {prediction} {variant} | {kind} | {' | '.join(cells)} |")
    others = ", ".join(names.label("model", model) for model in models[1:])
    return [
        f"Verdicts seen through {names.label('model', models[0])}; in brackets those of {others}, "
        "where one is supported or contradicted. **Bold**: not what was planted.",
        "",
        *lines,
    ]


def _worlds(results: Path) -> tuple[pd.DataFrame, list[str], Names]:
    """Numbers behind the figure of the three brains, its models in their order, and names."""
    path = results / "figures" / f"{WORLD_FIGURE}.csv"
    data = pd.read_csv(path, keep_default_na=False, na_values=[""])
    names = Names.read(results / "entries.csv")
    return data, names.order_models(data["model"]), names


def _world_cell(claims: pd.DataFrame, models: list[str]) -> str:
    """The verdict by the first model with its estimate, what was planted, others' verdicts."""
    first = claims.loc[models[0]]
    number = f"{first['estimate']:+.3f} {first['unit']}"
    estimate = number if np.isfinite(first["estimate"]) else REASONS[first["reason"]].short
    verdict = first["verdict"] if first["as_planted"] else f"**{first['verdict']}**"
    others = [claims.loc[model, "verdict"] for model in models[1:] if model in claims.index]
    spoken = [verdict for verdict in others if verdict in ("supported", "contradicted")]
    words = f" [{', '.join(spoken)}]" if spoken else ""
    return f"{verdict} ({estimate}); planted: {first['planted']}{words}"


def objective_cells(scores: pd.DataFrame, signal: str) -> list[str]:
    """Raw score at the best layer and unique part at the best layer, for both regions."""
    cells = []
    for measure in JUDGED.values():
        rows = scores[(scores["signal"] == signal) & (scores["measure"] == measure.name)]
        for roi in ("EVC", "IT"):
            part = rows[rows["roi"] == roi]
            cells.append(best_layer_cell(part) if len(part) else "–")
    return cells


def verdict_cells(claims: pd.DataFrame, model: str, signal: str) -> list[str]:
    """Estimate, interval, bounds of the share and verdict of C1 and C2, of a learning signal."""
    cells = []
    for prediction in ("C1", "C2"):
        rows = claims[
            (claims["prediction"] == prediction)
            & (claims["variant"] == "unique")
            & (claims["model"] == model)
            & (claims["signal"] == signal)
        ]
        cells += [
            f"{row.estimate:+.3f} [{row.ci_low:+.3f}, {row.ci_high:+.3f}], "
            f"{row.lower_share:.0%} to {row.upper_share:.0%}: {row.verdict}{_reason(row.reason)}"
            for row in rows.itertuples()
        ] or ["–"]
    return cells


def objects92_objectives(results: Path) -> list[str]:
    """Every objective and control under every training diet."""
    claims, names = read_claims(results), Names.read(results / "entries.csv")
    lines = [
        "| network | signal | EVC r | IT r | EVC unique variance | IT unique variance | C1 | C2 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model in dict.fromkeys(claims["model"]):
        scores = read_scores(results, model)
        for signal in dict.fromkeys(scores["signal"]):
            cells = [
                *objective_cells(scores, signal),
                *verdict_cells(claims, model, signal),
            ]
            network = names.label("model", model)
            lines.append(f"| {network} | `{signal}` | {' | '.join(cells)} |")
    return lines


def contrasts_of_models(results: Path) -> list[str]:
    """Figure and table of what differs between models that differ in one factor."""
    found = with_text(read_table(results / "model_contrasts.csv", kind="model_contrasts"))
    # Averaged over regions; unique parts are described, not tested.
    shown = found[found["roi"].eq("") & found["variant"].eq("raw")]
    names = Names.read(results / "entries.csv")
    copied = _copied(results, "model_contrasts", results.name)
    rows = [
        f"| {row.contrast} ({row.n_pairs}) | {names.label('signal', row.signal)} "
        f"| {CONTRAST_METHODS[row.method]} | {row.mean_a:.3f} | {row.mean_b:.3f} "
        f"| {row.estimate:+.3f} [{row.ci_low:+.3f}, {row.ci_high:+.3f}] | {row.q:.4f} "
        f"| {f'{row.q_over_models:.3f}' if np.isfinite(row.q_over_models) else '–'} |"
        for row in shown.itertuples()
    ]
    return [
        f"![Models that differ in one factor](figures/{copied.name})",
        "",
        f"{int(shown['n'].max())} people; mean over pairs of models and people, q over people with "
        "these models and, with three pairs or more, over models.",
        "",
        "| contrast (pairs) | signal | by | first | second | difference [95 % interval] | q "
        "| q over models |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]


#: Study -> pages that show its results, with what makes their section.
SECTIONS: dict[str, dict[str, Callable[[Path], list[str]]]] = {
    "objects92": {"README.md": objects92_answer, "docs/results.md": objects92_scores},
    "objects92_sensitivity": {"docs/results.md": other_choices},
    "brains_sensitivity": {"docs/results.md": other_choices},
    "demo": {"README.md": demo_figure},
    "worlds": {"README.md": worlds_figure, "docs/results.md": worlds_table},
    "objects92_objectives": {"docs/objectives.md": objects92_objectives},
    "objects92_dino": {"docs/objectives.md": objects92_objectives},
    "objects92_models": {"docs/results.md": contrasts_of_models},
}


def replace_section(text: str, name: str, lines: list[str], *, page: str) -> str:
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if start not in text or end not in text:
        raise GradbrainError(f"{page}: lacks the markers {start} and {end}")
    head, rest = text.split(start, 1)
    return "\n".join([head + start, "", *lines, "", end + rest.split(end, 1)[1]])


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="+", choices=sorted(SECTIONS))
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder of results")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    for name in arguments.sections:
        for page, make in SECTIONS[name].items():
            text = (ROOT / page).read_text(encoding="utf-8")
            lines = make(arguments.results / name)
            write_text(ROOT / page, replace_section(text, name, lines, page=page))


if __name__ == "__main__":
    cli.run(main)
