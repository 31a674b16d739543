"""Peak time of each layer against its depth: the temporal hierarchy."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from gradbrain.figures import layout, style
from gradbrain.figures.declarations import FigureError
from gradbrain.figures.inputs import FigureInputs, require_columns, require_rows

TITLE = "Peak time by depth of layer"
INPUTS = ("hierarchy",)
MODALITIES = ("meg",)
SPACES = ()

COLUMNS = ["subject", "layer", "depth", "peak_time_ms", "temporal_r"]


def select(inputs: FigureInputs) -> pd.DataFrame:
    """Peak time (ms) per subject and layer, with the subject's temporal score.

    Layers whose score never exceeds chance have no peak time and no row.
    """
    table = inputs.table("hierarchy")
    keys = ["dataset", "modality", "model", "signal", "role", "variant", "onset_source"]
    shown = table["role"].isin(["activation", "learning"])
    peaks = table[shown & (table["statistic"] == "peak_time") & table["value"].notna()]
    require_rows(peaks, figure="peak_time_by_depth", what="peak times of layers (MEG data sets)")
    temporal = table[shown & (table["statistic"] == "temporal_r")]
    temporal = temporal.rename(columns={"value": "temporal_r"})
    data = peaks[[*keys, "subject", "layer", "depth"]].assign(peak_time_ms=_milliseconds(peaks))
    data = data.merge(
        temporal[[*keys, "subject", "temporal_r"]],
        on=[*keys, "subject"],
        how="left",
        validate="many_to_one",
    )
    return data.sort_values([*keys, "subject", "depth"], ignore_index=True)


def _milliseconds(peaks: pd.DataFrame) -> pd.Series:
    factor = peaks["unit"].map({"s": 1000.0, "ms": 1.0})
    if factor.isna().any():
        found = sorted(set(peaks.loc[factor.isna(), "unit"].astype(str)))
        raise FigureError(f"hierarchy table: peak_time has unit {found}; expected 's' or 'ms'")
    return factor * peaks["value"]


def plot_peak_time_by_depth(data: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw peak time over depth: subjects as thin lines, their mean as a thick one.

    Parameters
    ----------
    data
        Some quantities of one data set and model: ``signal``, ``role``, ``variant``,
        ``subject``, ``depth``, ``peak_time_ms``, ``temporal_r``.
    ax
        Where to draw. The raw score of a learning signal is dashed with open marks, its unique
        part solid with filled ones.
    """
    require_columns(data, COLUMNS, figure="peak_time_by_depth")
    for quantity in layout.quantities(data):
        part = layout.of_quantity(data, quantity)
        times = part.pivot_table(index="subject", columns="depth", values="peak_time_ms")
        colour = style.signal_colour(quantity.signal, quantity.role)
        hollow = quantity.role == "learning" and quantity.variant == "raw"
        for _, line in times.iterrows():
            ax.plot(times.columns, line, color=colour, alpha=0.18, linewidth=0.7, zorder=1)
        mean, half_width = layout.mean_interval(times.to_numpy())
        ax.errorbar(
            times.columns,
            mean,
            yerr=half_width,
            color=colour,
            linestyle=(0, (3, 2)) if hollow else "-",
            marker="o",
            markerfacecolor="white" if hollow else colour,
            linewidth=1.5,
            elinewidth=0.8,
            zorder=3,
            label=_legend_text(part, quantity),
        )
    ax.set_xlim(-0.04, 1.04)
    return ax


def _legend_text(part: pd.DataFrame, quantity: layout.Quantity) -> str:
    name = "activation" if quantity.role == "activation" else style.VARIANT_LABELS[quantity.variant]
    if quantity.role == "learning":
        name = f"signal, {name}" if quantity.variant == "unique" else f"signal {name}"
    temporal = part.drop_duplicates("subject")["temporal_r"].mean()
    return (
        f"{name}: r = {style.signed(temporal)}" if pd.notna(temporal) else f"{name}: too few layers"
    )


def figure(data: pd.DataFrame) -> Figure:
    """Arrange a row per data set and model, a column per learning signal."""
    require_columns(data, COLUMNS, figure="peak_time_by_depth")
    n_columns = max(len(_learning_signals(block.data)) for block in layout.blocks(data))
    return layout.figure_of_blocks(
        layout.blocks(data), _draw_block, width=max(5.2, 4.6 * n_columns), height=2.9
    )


def _learning_signals(data: pd.DataFrame) -> list[str]:
    learning = data[data["role"] == "learning"]["signal"]
    roles = dict.fromkeys(learning, "learning")
    return style.order_signals(learning, roles) or ["activation"]


def _draw_block(row: SubFigure, block: layout.Block) -> None:
    signals = _learning_signals(block.data)
    axes = row.subplots(1, len(signals), squeeze=False, sharey=True)[0]
    for ax, signal in zip(axes, signals, strict=True):
        panel = block.data[block.data["signal"].isin(["activation", signal])]
        plot_peak_time_by_depth(panel, ax=ax)
        ax.set_title(style.signal_label(signal))
        ax.set_xlabel("relative depth of layer")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes[0].set_ylabel(layout.time_label(block.data, of="peak time"))
    # The interval of two or three subjects may be wider than any recording.
    earliest, latest = block.data["peak_time_ms"].min(), block.data["peak_time_ms"].max()
    margin = max(20.0, 0.1 * (latest - earliest))
    axes[0].set_ylim(earliest - margin, latest + margin)
