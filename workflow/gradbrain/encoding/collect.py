"""Gather the scores that the encoding jobs of one model wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config import GradbrainError
from gradbrain.store import open_store, read_table, rebuild_hint
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.intervals import NULL_PERCENTILE
from gradbrain.vocabulary.measures import INTERSUBJECT_MEASURES, UNIQUE_VARIANCE, R
from gradbrain.vocabulary.roles import CONTROL, LEARNING, TIME

# Of signals that depend on chance.
RELIABILITIES = ("reliability", "unique_reliability")
#: What a fit has and a variance component has not.
OF_FITS = ("boot_low", "boot_high", "edge_share", "band_weight")


class CollectError(GradbrainError):
    """Results of encoding jobs that do not belong together, or of which some are missing."""


def collect_scores(
    paths: Sequence[Path],
    ceilings: Sequence[Path] = (),
    reliability: Sequence[Path] = (),
    stimuli: Mapping[str, str] | None = None,
    unique: Sequence[Path] = (),
) -> pd.DataFrame:
    """Join the score tables of all layers and subjects of one model.

    Parameters
    ----------
    paths
        Tables that ``fit_encoding`` wrote, one per layer and subject.
    ceilings
        Tables that ``compute_ceilings`` wrote, one per data set whose subjects share images and
        targets.
    reliability
        Tables that ``measure_reliability`` wrote, one per stimulus set.
    stimuli
        Subject -> stimulus set; needed where reliabilities are given.
    unique
        Stores that ``measure_unique`` wrote, one per subject.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``scores``, sorted; ``layer_index`` counts the layers given, by depth.
        Unique variance is a measure like those of the fits, but for what only a fit has
        (bootstrapped images, weights of bands, penalties on an edge), which is NaN.
        ``intersubject_r`` and ``intersubject_r2`` say how well the other subjects predict the same
        subject at the same region or time; NaN where there is no such ceiling. Reliabilities are
        those of the row's signal and layer for the images of its subject; NaN for signals that do
        not depend on chance.

    Raises
    ------
    CollectError
        Several studies or models are mixed, a job's rows are there twice, a subject lacks a
        layer that others have, or reliabilities or unique variance are of other signals, layers,
        images or units.
    """
    if not paths:
        raise CollectError("no score table was given; give those of all layers and subjects")
    frame = pd.concat([read_table(path, kind="fit_scores") for path in paths], ignore_index=True)
    for key in ("study", "model"):
        found = sorted(frame[key].unique())
        if len(found) > 1:
            raise CollectError(f"score tables of several {key}s were given: {found}")
    if unique:
        parts = [_unique_rows(path, open_store(path, kind="unique"), frame) for path in unique]
        frame = pd.concat([frame, *parts], ignore_index=True)
    identity = ["dataset", "subject", "layer", "signal", "role", "measure", "roi", "time"]
    if frame.duplicated(identity).any():
        twice = frame.loc[frame.duplicated(identity), identity].iloc[0].to_dict()
        raise CollectError(f"score tables hold the same score twice: {twice}")
    jobs = frame[["dataset", "subject", "layer"]].drop_duplicates()
    check_layers(
        {
            (str(dataset), str(subject)): set(own["layer"])
            for (dataset, subject), own in jobs.groupby(["dataset", "subject"])
        }
    )
    depths = frame.groupby("layer")["depth"].first().reset_index()
    order = list(depths.sort_values(["depth", "layer"])["layer"])
    frame["layer_index"] = frame["layer"].map(order.index).astype("int64")
    frame = _with_ceilings(frame, [read_table(path, kind="ceilings") for path in ceilings])
    tables = [read_table(path, kind="reliability") for path in reliability]
    joined = _with_reliabilities(frame, tables, stimuli or {})[list(columns_of("scores"))]
    keys = ["dataset", "subject", "layer_index", "signal", "role", "measure"]
    keys += ["roi_rank", "roi", "time"]
    return joined.sort_values(keys, kind="stable", ignore_index=True)


def _unique_rows(path: Path, store: xr.Dataset, scores: pd.DataFrame) -> pd.DataFrame:
    """Unique variance of a subject's signals, in rows as those of their r."""
    known = scores[scores["measure"] == R.name]
    for key in ("study", "model", "dataset", "subject"):
        known = known[known[key] == store.attrs[key]]
        if known.empty:
            raise CollectError(
                f"{path}: is of {key} {store.attrs[key]!r}, of which no score table was given. "
                f"{rebuild_hint(path)}"
            )
    if store.attrs["axis"] == TIME:
        times = [f"{time:.6g}" for time in store["unit_time"].values]
        store = store.assign_coords(unit=times)
    estimates = {
        "value": store["component"],
        "null_high": store["null"].quantile(NULL_PERCENTILE / 100, dim="draw"),
    }
    found = xr.Dataset(estimates).drop_vars("quantile").to_dataframe()[list(estimates)]
    rows = known[known["role"].isin((LEARNING, CONTROL))].drop(columns=list(estimates))
    time = rows["time"].map("{:.6g}".format)
    rows = rows.assign(unit=rows["roi"].where(rows["axis"] != TIME, time))
    of_row = ["layer", "signal", "unit"]
    joined = rows.merge(
        found.reset_index(), on=of_row, how="outer", validate="one_to_one", indicator=True
    )
    alone = joined[joined["_merge"] != "both"]
    if len(alone):
        row = alone.iloc[0]
        lacking = "holds no" if row["_merge"] == "left_only" else "alone holds a"
        raise CollectError(
            f"{path}: {lacking} row of signal {row['signal']!r}, layer {row['layer']!r}, at "
            f"{row['unit']}; its scores and its unique variance are not of the same fits. "
            f"{rebuild_hint(path)}"
        )
    return joined.assign(measure=UNIQUE_VARIANCE.name, **dict.fromkeys(OF_FITS, np.nan))[
        list(scores)
    ]


def _with_ceilings(scores: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the ceilings between subjects next to the scores of the same subject and unit."""
    unit = ["dataset", "subject", "roi", "time"]
    for name in INTERSUBJECT_MEASURES:
        rows = [table.loc[table["measure"] == name, [*unit, "value"]] for table in tables]
        known = [table for table in rows if len(table)]
        if not known:
            scores = scores.assign(**{name: np.nan})
            continue
        ceiling = pd.concat(known).rename(columns={"value": name})
        scores = scores.merge(ceiling, on=unit, how="left", validate="many_to_one")
    return scores


def _with_reliabilities(
    scores: pd.DataFrame, tables: Sequence[pd.DataFrame], stimuli: Mapping[str, str]
) -> pd.DataFrame:
    """Put how well a signal repeats itself next to its scores."""
    if not tables:
        return scores.assign(**dict.fromkeys(RELIABILITIES, np.nan))
    found = pd.concat(tables, ignore_index=True)
    key = ["model", "stimuli", "layer", "signal", "role"]
    scores = scores.assign(stimuli=scores["subject"].map(stimuli))
    joined = scores.merge(
        found[[*key, *RELIABILITIES]], on=key, how="left", validate="many_to_one", indicator=True
    )
    expected = joined["signal"].isin(found["signal"]) & joined["role"].isin(found["role"])
    lacking = joined[expected & (joined["_merge"] == "left_only")]
    if len(lacking):
        row = lacking.iloc[0]
        raise CollectError(
            f"the tables of reliability hold no row of signal {row['signal']!r}, model "
            f"{row['model']!r}, layer {row['layer']!r}, and the images of subject "
            f"{row['subject']!r} (stimulus set {row['stimuli']!r}), whose scores are there; "
            "measure it: snakemake scores"
        )
    return joined


def check_layers(layers: Mapping[tuple[str, str], set[str]]) -> None:
    """Refuse results of which a subject lacks a layer that others have.

    Parameters
    ----------
    layers
        Layers of every data set and subject.

    Raises
    ------
    CollectError
        A subject lacks a layer.
    """
    everything = set().union(*layers.values())
    for (dataset, subject), own in sorted(layers.items()):
        missing = sorted(everything - own)
        if missing:
            raise CollectError(
                f"{dataset}, {subject}: lacks layer(s) {missing}, which other subjects have; fit "
                "them first (snakemake encoding)"
            )
