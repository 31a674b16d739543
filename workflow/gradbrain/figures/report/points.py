"""The tables behind figures, point by point: what a reader points at tells its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gradbrain.figures import style
from gradbrain.figures.declarations import Points
from gradbrain.figures.names import Names

#: Points that a figure puts into the page at most; of more, subjects are averaged.
MOST = 20_000
#: Columns whose values have a label in the registries.
_LABELLED = ("model", "signal")


def points(path: Path, declared: Points | None, names: Names) -> dict[str, Any] | None:
    """Columns of a figure's table as the page draws them.

    Parameters
    ----------
    path
        CSV behind the figure.
    declared
        What is an axis, a colour, a choice.
    names
        Labels and colours of signals and models.

    Returns
    -------
    dict or None
        ``columns``: per column ``label`` and either ``numbers`` (None where unknown) or ``codes``
        into ``levels``; for ``series`` also the ``colours`` of levels (None: the plot's own).
        Further the keys of :class:`~gradbrain.figures.declarations.Points` that name columns,
        ``average`` (whether points are means over subjects) and ``n``. None where the figure
        declares no points, shows nothing, or holds more points than a page can carry.
    """
    if declared is None or not path.is_file():
        return None
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    if not set(declared.columns) <= set(table):  # of an empty figure
        return None
    # What is empty throughout says nothing: a choice between no regions, an unknown interval.
    empty = {name for name in declared.columns if table[name].isna().all()}
    if {declared.x, declared.y} & empty:
        return None
    average = len(table) > MOST and "subject" in declared.text
    if average:
        table = _over_subjects(table, declared, empty)
    if len(table) > MOST:
        return None
    used = [name for name in declared.columns if name in table and name not in empty]
    labels = {declared.x: declared.x_label, declared.y: declared.y_label}
    kept, choices = set(used), (*declared.panels, declared.series)
    return {
        "x": declared.x,
        "y": declared.y,
        **{
            role: getattr(declared, role) if getattr(declared, role) in kept else ""
            for role in ("low", "high", "series", "colour")
        },
        "panels": [name for name in declared.panels if name in kept],
        "text": [name for name in declared.text if name in kept],
        "average": average,
        "n": len(table),
        "columns": {
            name: {
                "label": labels.get(name) or name.replace("_", " "),
                **_column(table, name, names, as_choice=name in choices),
            }
            for name in used
        },
    }


def _over_subjects(table: pd.DataFrame, declared: Points, empty: set[str]) -> pd.DataFrame:
    """Means of y over subjects; what differs between subjects beside it is left out."""
    told = [name for name in declared.text if name != "subject" and name not in empty]
    text = [name for name in told if not is_numeric_dtype(table[name])]
    chosen = [declared.x, declared.series, *declared.panels, *text]
    keys = list(dict.fromkeys(name for name in chosen if name and name not in empty))
    extra = ["modality"] if "modality" in table else []
    by = [*keys, *extra]
    return table.groupby(by, dropna=False, sort=False)[declared.y].mean().reset_index()


def _column(table: pd.DataFrame, name: str, names: Names, *, as_choice: bool) -> dict[str, Any]:
    values = table[name]
    if is_numeric_dtype(values) and not as_choice:
        return {"numbers": [float(f"{v:.4g}") if np.isfinite(v) else None for v in values]}
    codes, levels = pd.factorize(values, use_na_sentinel=False)
    found: dict[str, Any] = {
        "codes": codes.tolist(),
        "levels": [_level(table, name, level, names) for level in levels],
    }
    colours = [_colour(name, level, names) for level in levels]
    if any(colours):
        found["colours"] = colours
    return found


def _level(table: pd.DataFrame, name: str, level: Any, names: Names) -> str:
    if not isinstance(level, str):
        return "–" if pd.isna(level) else f"{level:g}".replace("-", "−")
    if name == "dataset" and "modality" in table:
        modality = table.loc[table["dataset"] == level, "modality"].iloc[0]
        return names.dataset_label(level, str(modality))
    if name in _LABELLED:
        return names.label("signal" if name == "signal" else "model", level)
    return style.VARIANT_LABELS.get(level, level) if name == "variant" else level


def _colour(name: str, level: Any, names: Names) -> str | None:
    if name == "signal":
        return names.colour("signal", level)
    # An undetermined verdict is pale on white, as a cell; as a point it must be seen.
    if name == "verdict" and level in ("supported", "contradicted"):
        return style.VERDICTS[level][0]
    return None
