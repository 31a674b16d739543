"""Learning rules in the order of their unique part, with all else that they were asked for."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradbrain.config.schema import StatisticsSettings
from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import with_bootstrap_interval
from gradbrain.figures.names import Names
from gradbrain.store import Statistics, read_tables
from gradbrain.vocabulary.intervals import BETWEEN_BOUNDS, INTERVAL
from gradbrain.vocabulary.roles import ACTIVATION, CONTROL, LEARNING

TITLE = "Learning rules, ranked"
INPUTS = ("claims", "hierarchy", "hierarchy_draws", "alikeness")
OPTIONAL = ("training",)
AXES = ("roi", "time")
SPACES = ()
POINTS = {
    "x": "signal",
    "y": "estimate",
    "low": "ci_low",
    "high": "ci_high",
    "series": "role",
    "panels": ("dataset", "model", "criterion", "variant"),
    "text": ("rank", "unit", "q", "verdict", "detectable_share", "same_as", "trained_by"),
}


@dataclass(frozen=True)
class Criterion:
    """What rules are compared by: a column of panels.

    Attributes
    ----------
    name, title
        In the table and above the panels.
    prediction
        Claim that it is read from; empty where it is no claim.
    axis
        What it needs data along; empty: either.
    statistics
        Statistics of the hierarchy from which controls are read, as the claim reads them of
        learning signals; empty where controls have none.
    scale
        Factor from the table to the axis.
    """

    name: str
    title: str
    prediction: str
    axis: str = ""
    statistics: tuple[str, ...] = ()
    scale: float = 1.0


PREDICTIVITY, UNIQUE, COSINE = "predictivity", "unique part", "cosine"
CRITERIA = (
    Criterion(PREDICTIVITY, "predicts", "P1", statistics=("score_at_peak", "score_at_own_peak")),
    Criterion(
        UNIQUE,
        "unique part",
        "C1",
        statistics=("unique_variance", "unique_variance_at_own_peak"),
        scale=100.0,
    ),
    Criterion("lateness", "late", "P3", axis="time"),
    Criterion("order", "last layer first", "P4", axis="time"),
    Criterion("co-location", "where its layer is", "P5", axis="roi"),
    Criterion(COSINE, "like the gradient", ""),
)
#: Variant that controls and the activation are read from.
VARIANT = {PREDICTIVITY: "raw", UNIQUE: "unique", COSINE: "raw"}
#: (criterion, unit) -> label of the axis.
LABELS = {
    (PREDICTIVITY, "r"): "Pearson r,\nalone",
    (UNIQUE, "share of the explainable"): "% of the\nexplainable",
    ("lateness", "ms"): "after its\nactivation (ms)",
    ("order", "r"): "r of peak time\nand depth\n(backprop: −1)",
    ("co-location", "r"): "r of best layer\nand distance\nfrom V1",
    (COSINE, COSINE): "cosine, mean\nand range\nover layers",
    ("co-location", "depth"): "depth of best\nlayer, higher −\nearly areas",
}
LACKING = {"time": "no time in these data", "roi": "no regions in these data"}

RESULTS = ["estimate", "unit", "ci_low", "ci_high", "q", "verdict", "reason"]
BOUNDS = ["lower_share", "upper_share", "detectable_share", "reference"]
COLUMNS = [*layout.KEYS, "criterion", *RESULTS, *BOUNDS, "n", "same_as", "rank", "trained_by"]
#: Rules: of the gradient, and of what a network was taught by, whichever rule that was.
BACKPROP, TEACHING = "backprop", "teaching_signal"
#: Inches: smallest height of a row, of a line of a name in it and of the gap to the next name, of
#: what stands above and below the rows, and of the legend.
ROW, LABEL_LINE, LABEL_GAP, AROUND, LEGEND = 0.18, 0.1, 0.05, 1.35, 0.7
#: Fewer rows are given the height of as many: a narrow panel says why it is empty along it.
FEWEST_ROWS = 5
#: Letters of a line: of the name of a signal, of a title, of what an empty panel says.
LABEL_LETTERS, TITLE_LETTERS, EMPTY_LETTERS = 30, 14, 15
#: Width of a panel that is empty, as a share of that of others.
NARROW = 0.36
#: Shares above are drawn at the edge.
LARGEST = 1.0


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Everything that rules are compared by, of learning signals and their controls.

    Of learning signals the estimates, intervals and verdicts are those of the claims; of controls
    and of the activation, which no claim is about, means over subjects with intervals; of unique
    parts such an interval takes the noise ceiling as known, which that of a claim does not. The
    cosine with the gradient is the mean over layers and images, its ends those of single layers.
    ``same_as`` names the gradient that a signal counts as with all images of the study, ``rank``
    is the place of a learning signal by its unique part within data set and model: signals that
    are one with a gradient have its rank; controls have none, nor signals whose unique part is not
    known. ``trained_by`` is the rule that the
    study trained the model by, empty of models that it did not train.
    """
    claims = inputs.table("claims")
    parts = []
    for criterion in (one for one in CRITERIA if one.prediction):
        rows = claims[(claims["prediction"] == criterion.prediction) & (claims["role"] == LEARNING)]
        if criterion.name in VARIANT:
            rows = rows[rows["variant"] == VARIANT[criterion.name]]
        parts.append(rows.assign(criterion=criterion.name))
    require_rows(pd.concat(parts), figure="rule_ranking", what="claims on learning signals")
    statistics = inputs.statistics()
    parts += [
        _unclaimed(statistics, criterion, inputs.settings)
        for criterion in CRITERIA
        if criterion.statistics
    ]
    data = pd.concat(
        [part.reindex(columns=COLUMNS) for part in parts if len(part)], ignore_index=True
    )
    text = ["verdict", "reason", "unit"]
    data[text] = data[text].fillna("")
    alikeness = inputs.table("alikeness")
    data = pd.concat([data, _cosines(data, alikeness)], ignore_index=True)
    same = same_as(alikeness)
    pairs = zip(data["model"], data["signal"], strict=True)
    data["same_as"] = [same.get(pair, "") for pair in pairs]
    data["rank"] = _ranks(data)
    data["trained_by"] = data["model"].map(trained_by(inputs)).fillna("")
    keys = ["dataset", "model", "criterion", "variant", "rank", "signal"]
    return data.sort_values(keys, ignore_index=True)


def _unclaimed(
    statistics: Statistics, criterion: Criterion, settings: StatisticsSettings
) -> pd.DataFrame:
    """Rows of signals that no claim is about: mean over subjects, with its interval."""
    table, roles = statistics.table, [CONTROL]
    if criterion.name == PREDICTIVITY:
        roles.append(ACTIVATION)
    rows = table[
        table["statistic"].isin(criterion.statistics)
        & (table["variant"] == VARIANT[criterion.name])
        & table["role"].isin(roles)
        & table["value"].notna()
    ]
    rows = with_bootstrap_interval(rows, statistics.boot, layout.KEYS, settings)
    found = []
    for _, own in rows.groupby(layout.KEYS, sort=False):
        first = own.iloc[0]
        whole, unit = 1.0, str(first["unit"])
        if criterion.name == UNIQUE:
            # As claims have it: of what can be explained or, without a ceiling, is.
            known = np.isfinite(own["explainable"]).all()
            whole = float(own["explainable" if known else "explained"].mean())
            unit = "share of the explainable"
        if not whole > 0:
            continue
        numbers = {
            "estimate": own["value"].mean() / whole,
            "ci_low": first["ci_low"] / whole,
            "ci_high": first["ci_high"] / whole,
        }
        about = {"unit": unit, "n": len(own), "criterion": criterion.name}
        found.append(first[layout.KEYS].to_dict() | numbers | about)
    return pd.DataFrame(found)


def _cosines(data: pd.DataFrame, alikeness: pd.DataFrame) -> pd.DataFrame:
    """Cosine of every signal with the only gradient that learns: mean and range over layers."""
    learns = (alikeness["rule"] == BACKPROP) & (alikeness["role"] == LEARNING)
    found = {}
    for model, own in alikeness.groupby("model"):
        gradients = own["signal"][learns.loc[own.index]].unique()
        if len(gradients) == 1:
            beside = own[own["other"] == gradients[0]]
            for signal, rows in beside.groupby("signal"):
                layers = rows.groupby("layer")["cosine"].mean()
                found[model, signal] = (layers.mean(), layers.min(), layers.max())
    about = data[data["role"] != ACTIVATION].drop_duplicates(["dataset", "model", "signal"])
    rows = []
    for row in about.to_dict("records"):
        cosine = found.get((row["model"], row["signal"]))
        if cosine is not None:
            numbers = dict(zip(("estimate", "ci_low", "ci_high"), cosine, strict=True))
            source = {name: row[name] for name in layout.SOURCE}
            fixed = {"criterion": COSINE, "variant": "raw", "unit": COSINE}
            rows.append(source | numbers | fixed | {"verdict": "", "reason": ""})
    return pd.DataFrame(rows, columns=COLUMNS)


def same_as(alikeness: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(model, signal) -> the gradient that it counts as with the images of every stimulus set."""
    found: dict[tuple[str, str], str] = {}
    for key, own in alikeness.fillna({"same_as": ""}).groupby(["model", "signal"]):
        names = own["same_as"].unique()
        if len(names) == 1 and names[0]:
            found[str(key[0]), str(key[1])] = str(names[0])
    return found


def trained_by(inputs: FigureInputs) -> dict[str, str]:
    """Model -> the rule that the study trained it by; models that it did not train are left out."""
    if not inputs.training:
        return {}
    rows = read_tables("training", inputs.training).drop_duplicates("model")
    return dict(zip(rows["model"].astype(str), rows["learning_rule"].astype(str), strict=True))


def is_taught(row: Mapping[Any, Any]) -> bool:
    """Whether a row is of the rule that trained its network: a rule on a network of its own."""
    if row["role"] != LEARNING or not row["trained_by"]:
        return False
    return row["rule"] == TEACHING or row["rule"] == row["trained_by"] == BACKPROP


def _ranks(data: pd.DataFrame) -> pd.Series:
    """Place of every learning signal by its unique part, 1 the largest.

    NaN of other signals, and where the unique part is not known, e.g. without a noise ceiling: that
    is neither the last place nor the first.
    """
    unique = data[(data["criterion"] == UNIQUE) & (data["role"] == LEARNING)]
    places: dict[tuple[str, str, str], float] = {}
    for (dataset, model), own in unique.groupby(["dataset", "model"]):
        alone = own[own["same_as"] == ""]
        rank = alone["estimate"].rank(ascending=False, method="min", na_option="keep")
        by_name = dict(zip(alone["signal"], rank, strict=True))
        for signal, same in zip(own["signal"], own["same_as"], strict=True):
            place = by_name.get(same or signal)
            if place is not None:
                places[str(dataset), str(model), str(signal)] = place
    keys = zip(data["dataset"], data["model"], data["signal"], strict=True)
    return pd.Series([places.get(key, np.nan) for key in keys], index=data.index)


def ordered_signals(data: pd.DataFrame, names: Names) -> list[str]:
    """Signals of one data set and model from top to bottom: rules by rank, then controls.

    Parameters
    ----------
    data
        One data set and model.
    names
        Order of what has no rank or the same one.
    """
    about = data[data["role"] != ACTIVATION].drop_duplicates("signal").set_index("signal")
    unique = data[data["criterion"] == UNIQUE].set_index("signal")["estimate"]
    roles = dict(zip(map(str, about.index), map(str, about["role"]), strict=True))
    listed = names.order_signals(roles, roles)

    def place(signal: str) -> tuple[bool, float, bool, int]:
        row = about.loc[signal].to_dict()
        control = row["role"] == CONTROL
        # Signals that are one with a gradient stand below it.
        rank = -float(unique.get(signal, np.nan)) if control else float(row["rank"])
        rank = float("inf") if np.isnan(rank) else rank
        return bool(control), rank, bool(row["same_as"]), listed.index(signal)

    return sorted(listed, key=place)


def label(data: pd.DataFrame, signal: str, names: Names) -> str:
    """What stands beside the row of a signal: its rank, "=" where it is one with a gradient.

    Of the signal that taught the network also the rule that trained it.
    """
    row = data[data["signal"] == signal].iloc[0]
    name = names.label("signal", signal)
    if row["rule"] == TEACHING and row["trained_by"]:
        name += f": {row['trained_by'].replace('_', ' ')}"
    if row["role"] == CONTROL:
        return f"control: {name}"
    if row["same_as"]:
        return f"{name}  ="
    return f"{name}  {int(row['rank'])}" if np.isfinite(row["rank"]) else f"{name}  –"


def plot_criterion(data: pd.DataFrame, criterion: Criterion, *, ax: Axes, names: Names) -> Axes:
    """Draw one criterion: a row per signal, with the interval of its estimate.

    Parameters
    ----------
    data
        One data set and model with the columns of :data:`COLUMNS`.
    criterion
        One of :data:`CRITERIA`.
    ax
        Where to draw; a signal's row is its place in :func:`ordered_signals`.
    names
        Labels, colours and markers.
    """
    require_columns(data, COLUMNS, figure="rule_ranking")
    signals = ordered_signals(data, names)
    own = data[data["criterion"] == criterion.name]
    drawn = own[(own["role"] != ACTIVATION) & own["estimate"].notna()]
    ax.set_ylim(len(signals) - 0.4, -0.6)
    ax.set_yticks(range(len(signals)), labels=[])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    if drawn.empty:
        axis = data["axis"].iloc[0]
        lacking = criterion.axis and criterion.axis != axis
        said = LACKING[criterion.axis] if lacking else "not known"
        layout.say_empty(ax, _wrapped(f"{criterion.title}: {said}", EMPTY_LETTERS, COLON))
        ax.texts[-1].set(rotation=90, fontsize=6.5, linespacing=1.1)
        ax.axis("off")
        return ax
    # Faint lines lead from the name of a signal through all panels.
    ax.grid(visible=True, axis="y", color="#EFEFEF", linewidth=0.6)
    ax.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    _draw_references(own, criterion, ax=ax, names=names)
    for row in drawn.to_dict("records"):
        place = signals.index(row["signal"])
        if criterion.name == UNIQUE:
            _draw_power(row, place, criterion.scale, ax=ax, names=names)
        _draw_row(row, place, criterion, ax=ax, names=names)
    n_rules = data[data["role"] == LEARNING]["signal"].nunique()
    ax.axhline(n_rules - 0.5, color=style.FAINT, linewidth=0.8)
    ax.locator_params(axis="x", nbins=3)
    unit = str(drawn["unit"].iloc[0])
    ax.set_xlabel(LABELS.get((criterion.name, unit), unit), fontsize=7)
    return ax


def _draw_references(own: pd.DataFrame, criterion: Criterion, *, ax: Axes, names: Names) -> None:
    """Lines at the best control and at the activation, and the share that is of no interest."""
    controls = own[own["role"] == CONTROL]["estimate"].max()
    if np.isfinite(controls) and criterion.name != COSINE:
        ax.axvline(criterion.scale * controls, color=style.INK, linewidth=0.8, linestyle="--")
    for row in own[own["role"] == ACTIVATION].to_dict("records"):
        colour = names.colour("signal", row["signal"])
        ax.axvline(criterion.scale * row["estimate"], color=colour, linewidth=1.0, linestyle=":")
    if criterion.name == UNIQUE and own["reference"].notna().any():
        margin = criterion.scale * float(own["reference"].dropna().iloc[0])
        ax.axvspan(0, margin, color="#F2F2F2", linewidth=0, zorder=0)


def _draw_power(row: dict, place: int, scale: float, *, ax: Axes, names: Names) -> None:
    """Bounds of a unique share, and the smallest that would have been found."""
    if np.isfinite(row["upper_share"]):
        ax.barh(
            place,
            scale * (row["upper_share"] - row["lower_share"]),
            left=scale * row["lower_share"],
            height=0.62,
            color=names.colour("signal", row["signal"]),
            alpha=0.2,
            linewidth=0,
        )
    if np.isfinite(row["detectable_share"]):
        ax.plot(
            scale * row["detectable_share"],
            place,
            marker="|",
            markersize=7,
            markeredgewidth=1.4,
            color=style.INK,
            linestyle="",
        )


def _draw_row(row: dict, place: int, criterion: Criterion, *, ax: Axes, names: Names) -> None:
    """One estimate and its interval."""
    scale, colour = criterion.scale, names.colour("signal", row["signal"])
    alone = criterion.name not in VARIANT and row["variant"] == "raw"
    # A unique part that is not there has neither a place nor a time.
    faint = criterion.name not in VARIANT and not alone and row["verdict"] == "undetermined"
    height = place + (0.2 if alone else -0.1 if criterion.name not in VARIANT else 0.0)
    bounds = [row["ci_low"], row["ci_high"]]
    if criterion.name == UNIQUE:
        bounds = [min(bound, LARGEST) for bound in bounds]
    look: dict[str, Any] = {"color": colour, "alpha": 0.4 if faint else 1.0, "zorder": 3}
    ax.plot([scale * bound for bound in bounds], [height, height], linewidth=1.3, **look)
    filled = row["verdict"] == "supported"
    marker = "x" if row["verdict"] == "contradicted" else names.marker(row["signal"])
    ax.plot(
        scale * row["estimate"],
        height,
        marker=marker,
        markersize=3 if alone else 4.6,
        markerfacecolor=colour if filled else "white",
        linestyle="",
        **(look | {"zorder": 4}),
    )


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row of panels per data set and model, a column per criterion."""
    require_columns(data, COLUMNS, figure="rule_ranking")
    items = layout.blocks(data, names)
    whole = layout.figure_of_blocks(
        items,
        _draw_block,
        names,
        lines=lambda block: max(FEWEST_ROWS, len(ordered_signals(block.data, names))),
        width=style.PAGE,
        height=max(_row_height(block.data, names) for block in items),
        more=AROUND,
    )
    whole.set_figheight(whole.get_figheight() + LEGEND)
    layout.legend_below(whole, _handles(data), style.PAGE)
    return whole


#: What a line of a label never breaks: a rank from its name, what is lacking from a criterion.
RANK, COLON = "  ", ": no "


def _wrapped(text: str, letters: int, kept: str) -> str:
    """Text in lines of so many letters; none begins or ends within `kept`."""
    unbreakable = kept.replace(" ", "\N{NO-BREAK SPACE}")
    return textwrap.fill(text.replace(kept, unbreakable), letters).replace(unbreakable, kept)


def _labels(data: pd.DataFrame, names: Names) -> list[str]:
    """What stands beside the rows of one data set and model, in lines."""
    signals = ordered_signals(data, names)
    return [_wrapped(label(data, signal, names), LABEL_LETTERS, RANK) for signal in signals]


def _row_height(data: pd.DataFrame, names: Names) -> float:
    """Inches of a row that has room for the label of most lines."""
    most = max(text.count("\n") + 1 for text in _labels(data, names))
    return max(ROW, LABEL_LINE * most + LABEL_GAP)


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    axis = block.data["axis"].iloc[0]
    widths = [1.0 if criterion.axis in ("", axis) else NARROW for criterion in CRITERIA]
    axes = row.subplots(1, len(CRITERIA), width_ratios=widths)
    for ax, criterion in zip(axes, CRITERIA, strict=True):
        plot_criterion(block.data, criterion, ax=ax, names=names)
        if criterion.axis in ("", axis):
            ax.set_title(textwrap.fill(criterion.title, TITLE_LETTERS), fontsize=8)
    signals = ordered_signals(block.data, names)
    labels = _labels(block.data, names)
    axes[0].set_yticks(range(len(signals)), labels=labels, fontsize=6.5, linespacing=1.0)
    about = block.data.drop_duplicates("signal").set_index("signal")
    for text, signal in zip(axes[0].get_yticklabels(), signals, strict=True):
        of_signal = about.loc[signal].to_dict()
        text.set_color(style.MUTED if of_signal["role"] == CONTROL else style.INK)
        text.set_fontweight("bold" if is_taught(of_signal) else "normal")


def _handles(data: pd.DataFrame) -> list[Line2D | Patch]:
    grey: dict[str, Any] = {"color": style.INK, "linestyle": "", "marker": "o", "markersize": 4.6}
    handles: list[Line2D | Patch] = [
        Line2D([], [], **grey, label=f"estimate, {INTERVAL}: supported"),
        Line2D([], [], **grey, markerfacecolor="white", label="the same: not judged, or open"),
        Line2D([], [], **(grey | {"marker": "x"}), label="contradicted"),
        Line2D([], [], color=style.INK, linestyle="--", label="best control"),
        Line2D([], [], color=style.BLUE, linestyle=":", label="activation"),
        Patch(color=style.MUTED, alpha=0.25, label=BETWEEN_BOUNDS),
        Line2D(
            [],
            [],
            **(grey | {"marker": "|", "markersize": 7}),
            label="smallest share found in 80 %",
        ),
    ]
    if any(criterion.axis in set(data["axis"]) for criterion in CRITERIA):
        small = grey | {"markersize": 3, "markerfacecolor": "white"}
        handles.append(Line2D([], [], **small, label="small: of the signal alone"))
    if any(map(is_taught, data.to_dict("records"))):
        handles.append(
            Line2D([], [], linestyle="", label="bold name: the rule that trained this network")
        )
    if (data["same_as"] != "").any():
        handles.append(
            Line2D([], [], linestyle="", label="=  one with the gradient above it (cosine > .9)")
        )
    return handles
