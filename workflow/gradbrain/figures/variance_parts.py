"""What learning signals explain alone, what activations explain alone, and what they share."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradbrain.figures import layout, style
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import student_interval
from gradbrain.figures.names import Names
from gradbrain.vocabulary.intervals import INTERVAL
from gradbrain.vocabulary.measures import R2, UNIQUE_R2, UNIQUE_VARIANCE
from gradbrain.vocabulary.roles import BASELINE, LEARNING, TIME

TITLE = "Unique and shared variance of signals and activations"
INPUTS = ("scores",)
AXES = ("roi", "time")
SPACES = ()
JOINT_FITS = True
POINTS = {
    "x": "part",
    "y": "value",
    "y_label": "held-out R² (only the signal: unique variance)",
    "low": "ci_low",
    "high": "ci_high",
    "series": "part",
    "panels": ("dataset", "model", "signal", "roi", "time"),
    "text": ("subject",),
}

#: Part -> what readers call it.
PARTS = {
    "only_activations": "only activations (of all layers)",
    "shared": "shared by both",
    "only_signal": "only the signal",
}
MARKERS = {"only_activations": "s", "shared": "D", "only_signal": "o"}
LINES: dict[str, Any] = {"only_activations": "-", "shared": (0, (4, 2)), "only_signal": "-"}
#: Above, what is large; below, on a scale of its own, what the signal adds.
ROWS = (("only_activations", "shared"), ("only_signal",))
LABELS = ("held-out R²", UNIQUE_VARIANCE.label)

PANEL, PER_LINE, HEIGHT, LEGEND = 1.8, 3, 3.3, 0.45
COLUMNS = ["part", "subject", "roi", "roi_rank", "time", "value", "ci_low", "ci_high"]
COLUMNS += ["onset_source"]
_UNIT = ["axis", "roi", "roi_rank", "time", "onset_source"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Parts of the variance that all activations and a signal explain together, per subject.

    With A for the activations of all layers, S for the signal of a layer and R²(A, S) for the
    joint fit, all held out: ``only_activations`` is R²(A, S) − R²(S) and ``shared`` is
    R²(A) + R²(S) − R²(A, S) (commonality analysis; Newton & Spurrell 1967, *Applied Statistics*
    16:51–64). What is left, R²(A, S) − R²(A), lies below zero for useful signals as well, so that
    ``only_signal`` is the variance component that C1 is judged by. Each is averaged over layers.
    ``ci_low`` and ``ci_high`` are Student's interval of the mean over subjects; NaN where the
    study has too few.
    """
    scores = inputs.table("scores")
    who = ["dataset", "modality", "model", "layer", "subject", *_UNIT]
    signals = scores[scores["role"] == LEARNING]
    identity = ["signal", "role", "rule", "objective"]
    alone = signals[signals["measure"] == R2.name][[*who, *identity, "value"]]
    added, component = (
        signals[signals["measure"] == measure.name][[*who, "signal", "value"]]
        for measure in (UNIQUE_R2, UNIQUE_VARIANCE)
    )
    of_all = scores[(scores["role"] == BASELINE) & (scores["measure"] == R2.name)]
    joined = alone
    for name, part in (("added", added), ("unique", component)):
        joined = joined.merge(
            part, on=[*who, "signal"], suffixes=("", f"_{name}"), validate="one_to_one"
        )
    joined = joined.merge(
        of_all[[*who, "value"]], on=who, suffixes=("", "_of_all"), validate="many_to_one"
    )
    require_rows(joined, figure="variance_parts", what="R² of signals beside all activations")
    parts = {
        "only_activations": joined["value_of_all"] + joined["value_added"] - joined["value"],
        "shared": joined["value"] - joined["value_added"],
        "only_signal": joined["value_unique"],
    }
    rows = pd.concat(
        [joined.assign(part=part, value=value) for part, value in parts.items()],
        ignore_index=True,
    )
    keys = [*layout.SOURCE, *[name for name in _UNIT if name != "axis"], "part"]
    means = rows.groupby([*keys, "subject"], dropna=False, as_index=False)["value"].mean()
    bounds = [
        (*name, *student_interval(own["value"].to_numpy(), inputs.settings))
        for name, own in means.groupby(keys, dropna=False)
    ]
    intervals = pd.DataFrame(bounds, columns=[*keys, "ci_low", "ci_high"])
    found = means.merge(intervals, on=keys, how="left", validate="many_to_one")
    order = [*layout.SOURCE, "part", "roi_rank", "time", "subject"]
    return found[[*layout.SOURCE, *COLUMNS]].sort_values(order, ignore_index=True)


def plot_variance_parts(
    data: pd.DataFrame, parts: tuple[str, ...], *, ax: Axes, names: Names
) -> Axes:
    """Draw some parts over regions or over time: means, intervals and, over regions, subjects.

    Parameters
    ----------
    data
        One signal of one data set and model: ``part``, ``subject``, ``axis``, ``roi``,
        ``roi_rank``, ``time`` (s), ``value`` with the interval of its mean.
    parts
        Those of :data:`PARTS` that are drawn.
    ax
        Where to draw; negative parts lie below the line of zero.
    names
        Colours of signals.
    """
    require_columns(data, COLUMNS, figure="variance_parts")
    over_time = data["axis"].iloc[0] == TIME
    unit = "time" if over_time else "roi_rank"
    ax.axhline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    places = np.unique(data[unit].to_numpy(dtype=float))
    shifts = [0.0] if over_time or len(parts) == 1 else layout.spread(len(parts), 0.16)
    for part, shift in zip(parts, np.resize(shifts, len(parts)), strict=True):
        own = data[data["part"] == part]
        colour = part_colour(part, data["signal"].iloc[0], names)
        means = layout.means_by(own, unit, "value").reindex(places)
        if over_time:
            times = 1000 * places
            ax.fill_between(
                times, means["low"], means["high"], color=colour, alpha=0.2, linewidth=0, zorder=1
            )
            ax.plot(times, means["mean"], color=colour, linestyle=LINES[part], zorder=3)
            continue
        at = np.arange(len(places)) + shift
        values = own.pivot(index="subject", columns=unit, values="value").reindex(columns=places)
        layout.draw_subjects(
            np.broadcast_to(at, values.shape), values, ax=ax, colour=colour, size=5
        )
        look = {"marker": MARKERS[part], "markersize": 4.5, "linestyle": LINES[part]}
        layout.draw_means(at, means, ax=ax, colour=colour, linewidth=1.2, **look)
    if over_time:
        ax.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
        ax.set_xlim(1000 * places.min(), 1000 * places.max())
    else:
        regions = data.drop_duplicates("roi_rank").set_index("roi_rank")["roi"]
        layout.label_regions(ax, range(len(places)), [regions[rank] for rank in places])
        ax.set_xlim(-0.5, len(places) - 0.5)
    return ax


def part_colour(part: str, signal: str, names: Names) -> str:
    """Colour of a part: that of activations, of the signal, or grey for what they share."""
    own = {"only_activations": style.BLUE, "shared": style.INK}
    return own[part] if part in own else names.colour("signal", signal)


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a block per data set, a panel per model and learning signal."""
    require_columns(data, COLUMNS, figure="variance_parts")
    by_dataset: dict[str, list[layout.Block]] = {}
    for block in layout.blocks(data, names):
        by_dataset.setdefault(block.dataset, []).append(block)
    panels = {
        dataset: [part for block in items for part in _panels(block, names)]
        for dataset, items in by_dataset.items()
    }
    most = min(PER_LINE, max(map(len, panels.values())))
    width = min(style.PAGE, max(4.4, 1.0 + (PANEL + 0.2) * most))
    letters = int(layout.BOLD_LETTERS_PER_INCH * width)
    titles = {
        dataset: textwrap.fill(names.dataset_label(dataset, items[0].modality), letters)
        for dataset, items in by_dataset.items()
    }
    heights = [
        HEIGHT * layout.n_lines(len(panels[dataset]), PER_LINE)
        + LEGEND
        + layout.TITLE_LINE * title.count("\n")
        for dataset, title in titles.items()
    ]
    whole = Figure(figsize=(width, sum(heights)), layout="constrained")
    rows = whole.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, dataset in zip(rows, panels, strict=True):
        row.suptitle(titles[dataset], x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        _draw_dataset(row, panels[dataset], names)
    return whole


def _panels(block: layout.Block, names: Names) -> list[tuple[str, str, pd.DataFrame]]:
    """Model, signal and rows of each panel of a data set and model."""
    roles = dict(zip(block.data["signal"], block.data["role"], strict=True))
    return [
        (block.model, signal, block.data[block.data["signal"] == signal])
        for signal in names.order_signals(roles, roles)
    ]


def _draw_dataset(
    row: SubFigure, panels: list[tuple[str, str, pd.DataFrame]], names: Names
) -> None:
    axes = layout.panels(
        row, len(panels), per_line=PER_LINE, n_rows=len(ROWS), height_ratios=(1.2, 1)
    )
    letters = int(layout.LETTERS_PER_INCH * PANEL)
    for column, (model, signal, own) in zip(axes.T, panels, strict=True):
        for ax, parts, label in zip(column, ROWS, LABELS, strict=True):
            plot_variance_parts(own, parts, ax=ax, names=names)
            if layout.starts_line(ax):
                ax.set_ylabel(label)
        labels = (names.label("model", model), names.label("signal", signal))
        layout.set_title(column[0], "\n".join(textwrap.fill(label, letters) for label in labels))
        column[0].tick_params(labelbottom=False)
        if own["axis"].iloc[0] == TIME:
            column[-1].set_xlabel(layout.time_label(own, width=PANEL))
    layout.share_limits(list(axes[0]))
    layout.share_limits(list(axes[1]), at_least=layout.UNIQUE_RANGE)
    whole = pd.concat([own for _, _, own in panels])
    layout.legend_below(row, _handles(whole, names), layout.width_of(row))


def _handles(data: pd.DataFrame, names: Names) -> list[Line2D | Patch]:
    over_time = data["axis"].iloc[0] == TIME
    signals = data["signal"].unique()
    colours = {part: part_colour(part, signals[0], names) for part in PARTS}
    if len(signals) > 1:
        colours["only_signal"] = style.INK
    parts: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            color=colours[part],
            linestyle=LINES[part],
            marker="" if over_time else MARKERS[part],
            markersize=4,
            label=f"{label} (lower panels)" if part == "only_signal" else label,
        )
        for part, label in PARTS.items()
    ]
    has_interval = bool(data["ci_low"].notna().any())
    if over_time:
        band = Patch(color=style.MUTED, alpha=0.3, linewidth=0, label=f"{INTERVAL} of a mean")
        return [*parts, band] if has_interval else parts
    return [*parts, layout.subject_handle(), layout.mean_handle(has_interval=has_interval)]
