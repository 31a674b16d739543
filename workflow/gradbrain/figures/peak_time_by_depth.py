"""Peak time of each layer against its depth: the temporal hierarchy."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.declarations import FigureError
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows
from gradbrain.figures.intervals import with_bootstrap_interval
from gradbrain.figures.names import Names
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

TITLE = "Peak time by depth of layer"
INPUTS = ("hierarchy", "hierarchy_draws")
AXES = ("time",)
SPACES = ()
POINTS = {
    "x": "depth",
    "y": "peak_time_ms",
    "x_label": "relative depth of the layer",
    "y_label": "peak time (ms)",
    "low": "ci_low",
    "high": "ci_high",
    "series": "signal",
    "panels": ("dataset", "model", "variant"),
    "text": ("subject", "layer"),
}

COLUMNS = ["subject", "layer", "depth", "peak_time_ms", "ci_low", "ci_high", "own_peak_time_ms"]
COLUMNS += ["temporal_r", "r_low", "r_high"]
#: Peak times of averages over subjects, and those of a subject alone.
OF_GROUP, OWN = "peak_time_jackknifed", "peak_time"
#: Peak times of fewer layers have no order to speak of: no line joins them, and they have no r.
FEWEST_LAYERS = 3
#: Letters of the title of a panel, and inches along its vertical axis.
TITLE_LETTERS, PANEL_HEIGHT = 50, 2.0


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Peak time (ms) per subject and layer, with the subject's temporal score.

    Layers whose average score never exceeds chance have no peak time and no row. ``peak_time_ms``
    and ``temporal_r`` are what a subject has of the latencies of averages, ``own_peak_time_ms`` is
    the peak of the subject's own scores, NaN where these do not exceed chance. ``ci_low`` and
    ``ci_high`` are the interval of the mean over subjects, ``r_low`` and ``r_high`` that of the
    temporal score, the one that its claim has; NaN where the study has too few subjects.
    """
    statistics = inputs.statistics()
    table, boot = statistics.table, statistics.boot
    keys = [*layout.KEYS, "onset_source"]
    shown = table["role"].isin(layout.SHOWN)
    peaks = table[shown & (table["statistic"] == OF_GROUP) & table["value"].notna()]
    require_rows(peaks, figure="peak_time_by_depth", what="peak times of layers")
    peaks = with_bootstrap_interval(peaks, boot, [*keys, "layer"], inputs.settings)
    temporal = with_bootstrap_interval(
        table[shown & (table["statistic"] == "temporal_r")],
        boot,
        keys,
        inputs.settings,
        within=(-1.0, 1.0),
    ).rename(columns={"value": "temporal_r", "ci_low": "r_low", "ci_high": "r_high"})
    factor = _milliseconds(peaks)
    data = peaks[[*keys, "subject", "layer", "depth"]].assign(
        peak_time_ms=factor * peaks["value"],
        ci_low=factor * peaks["ci_low"],
        ci_high=factor * peaks["ci_high"],
    )
    own = table[shown & (table["statistic"] == OWN)]
    own = own.assign(own_peak_time_ms=_milliseconds(own) * own["value"])
    data = data.merge(
        own[[*keys, "subject", "layer", "own_peak_time_ms"]],
        on=[*keys, "subject", "layer"],
        how="left",
        validate="one_to_one",
    ).merge(
        temporal[[*keys, "subject", "temporal_r", "r_low", "r_high"]],
        on=[*keys, "subject"],
        how="left",
        validate="many_to_one",
    )
    return data.sort_values([*keys, "subject", "depth"], ignore_index=True)


def _milliseconds(peaks: pd.DataFrame) -> pd.Series:
    """Factor from the unit of each row to ms."""
    factor = peaks["unit"].map({"s": 1000.0, "ms": 1.0})
    if factor.isna().any():
        found = sorted(set(peaks.loc[factor.isna(), "unit"].astype(str)))
        name = peaks["statistic"].iloc[0]
        raise FigureError(f"hierarchy table: {name} has unit {found}; expected 's' or 'ms'")
    return factor


def plot_peak_time_by_depth(data: pd.DataFrame, *, ax: Axes, names: Names) -> Axes:
    """Draw peak time over depth: subjects alone as dots, that of their averages as a line.

    Parameters
    ----------
    data
        Some quantities of one data set and model: ``signal``, ``role``, ``variant``,
        ``subject``, ``depth``, ``peak_time_ms`` with the interval of its mean,
        ``own_peak_time_ms``, ``temporal_r`` with its interval.
    ax
        Where to draw. The raw score of a learning signal is dashed with open marks, its unique
        part solid with filled ones. Fewer than three layers are not joined by lines.
    names
        Colours of signals.
    """
    require_columns(data, COLUMNS, figure="peak_time_by_depth")
    quantities = layout.quantities(data, names)
    # Side by side, so that quantities that peak together are told apart.
    shifts = layout.spread(len(quantities), _dodge(data))
    for quantity, shift in zip(quantities, shifts, strict=True):
        part = layout.of_quantity(data, quantity)
        colour = names.colour("signal", quantity.signal)
        hollow = quantity.role == LEARNING and quantity.variant == "raw"
        means = layout.means_by(part, "depth", "peak_time_ms")
        joined = len(means) >= FEWEST_LAYERS
        part = part.sort_values("subject", kind="stable")
        layout.draw_subjects(
            part["depth"] + shift, part["own_peak_time_ms"], ax=ax, colour=colour, size=5
        )
        if joined:
            for _, line in part.groupby("subject"):
                ax.plot(
                    line["depth"] + shift,
                    line["own_peak_time_ms"],
                    color=colour,
                    alpha=0.18,
                    linewidth=0.7,
                    zorder=1,
                )
        layout.draw_means(
            means.index.to_numpy(dtype=float) + shift,
            means,
            ax=ax,
            colour=colour,
            linestyle="none" if not joined else (0, (3, 2)) if hollow else "-",
            markersize=5.5,
            markerfacecolor="white" if hollow else colour,
            label=legend_text(part, quantity),
        )
    ax.set_xlim(-0.04, 1.04)
    return ax


def _dodge(data: pd.DataFrame) -> float:
    """Half the width over which quantities stand side by side: well within a layer's own place."""
    depths = np.unique(data["depth"].to_numpy(dtype=float))
    return float(min(0.02, 0.25 * np.diff(depths).min())) if len(depths) > 1 else 0.02


def legend_text(part: pd.DataFrame, quantity: layout.Quantity) -> str:
    """Name of a quantity, and its temporal score with its interval where there is one."""
    name = "activation" if quantity.role == ACTIVATION else style.VARIANT_LABELS[quantity.variant]
    if quantity.role == LEARNING:
        name = f"signal, {name}" if quantity.variant == "unique" else f"signal {name}"
    subjects = part.drop_duplicates("subject")
    if subjects["temporal_r"].isna().all():
        return name
    text = f"{name}\nr = {style.signed(subjects['temporal_r'].mean())}"
    low, high = subjects[["r_low", "r_high"]].iloc[0]
    if np.isfinite(low):
        text += f" [{style.signed(low)}, {style.signed(high)}]"
    return f"{text}, n = {subjects['temporal_r'].notna().sum()}"


def figure(data: pd.DataFrame, names: Names) -> Figure:
    """Arrange a row per data set and model, a column per learning signal."""
    require_columns(data, COLUMNS, figure="peak_time_by_depth")
    items = layout.blocks(data, names)
    return layout.figure_of_blocks(
        items,
        _draw_block,
        names,
        lines=lambda block: len(_panel_signals(block.data, names)),
        width=6.2,
        height=2.8,
    )


def _panel_signals(data: pd.DataFrame, names: Names) -> list[str]:
    """Learning signals, each with a panel of its own; the activation where there are none."""
    role_of = dict(zip(data["signal"], data["role"], strict=True))
    learning = [signal for signal, role in role_of.items() if role == LEARNING]
    return names.order_signals(learning or role_of, role_of)


def _draw_block(row: SubFigure, block: layout.Block, names: Names) -> None:
    signals = _panel_signals(block.data, names)
    axes = row.subplots(len(signals), 1, squeeze=False, sharey=True, sharex=True)[:, 0]
    for ax, signal in zip(axes, signals, strict=True):
        own = block.data["signal"] == signal
        panel = block.data[own | (block.data["role"] == ACTIVATION)]
        plot_peak_time_by_depth(panel, ax=ax, names=names)
        layout.set_title(ax, textwrap.fill(names.label("signal", signal), TITLE_LETTERS))
        ax.set_ylabel(layout.time_label(block.data, of="peak time", width=PANEL_HEIGHT))
        _add_legend(panel, ax=ax)
    axes[-1].set_xlabel("relative depth of layer")
    means = block.data.groupby(["signal", "variant", "layer"])["peak_time_ms"].mean()
    drawn = block.data[["own_peak_time_ms", "ci_low", "ci_high"]]
    earliest = float(min(means.min(), drawn.min().min()))
    latest = float(max(means.max(), drawn.max().max()))
    margin = max(20.0, 0.1 * (latest - earliest))
    # Peaks are sought after image onset.
    axes[0].set_ylim(max(0.0, earliest - margin), latest + margin)


def _add_legend(panel: pd.DataFrame, *, ax: Axes) -> None:
    handles = [
        *ax.get_legend_handles_labels()[0],
        layout.subject_handle(),
        layout.mean_handle(
            has_interval=bool(panel["ci_low"].notna().any()),
            joined=panel["layer"].nunique() >= FEWEST_LAYERS,
        ),
    ]
    without = panel[panel.groupby(["signal", "variant"])["temporal_r"].transform("count") == 0]
    title = f"no r: fewer than {FEWEST_LAYERS} layers peak" if len(without) else None
    ax.legend(
        handles=handles,
        title=title,
        title_fontsize=7,
        alignment="left",
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )
