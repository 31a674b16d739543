"""The statistics of one subject: every number that a claim or a hierarchy figure is made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.absence import absences
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.latencies import Latencies, Levels, latencies
from gradbrain.hierarchy.order import ALL_TIMES, PEAK_OF_GROUP, draw_correlations
from gradbrain.hierarchy.peak_units import OWN_PEAK, ScoresOf, mean_at_units, peak_units
from gradbrain.hierarchy.predictions import SPATIAL_R, SPATIAL_RANK_R
from gradbrain.hierarchy.spatial import (
    METHODS,
    best_layer_depth,
    has_distances,
    high_minus_early,
    mean_by_region,
    regions_above_chance,
    spatial_correlation,
)
from gradbrain.hierarchy.subject_scores import Signal, SubjectScores
from gradbrain.hierarchy.temporal import exceeds_null, peak_time
from gradbrain.hierarchy.unique_variance import KERNELS, MOMENTS, UniqueVariance
from gradbrain.store import Statistics
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.measures import (
    R_NORMALISED,
    UNIQUE_VARIANCE,
    Variant,
)
from gradbrain.vocabulary.roles import LEARNING, ROI

log = logging.getLogger(__name__)

# (subject, signal, variant) -> latencies of the subjects of a data set.
_Found = Mapping[tuple[str, str, Variant], Latencies]

# Columns that are empty where a statistic is not of one layer, region, method or control.
PARTS = ("layer", "roi", "pole", "best_layer", "control")


@dataclass(frozen=True)
class _Row:
    """One statistic of one subject: its columns of the table, its draws, the map behind it.

    Attributes
    ----------
    columns
        Column of the table -> value.
    boot, null
        Shape (draw,).
    map
        (layer, unit), of statistics at peaks.
    expected
        (kernel, layer, unit), of unique variance: the map of a brain that holds nothing else.
    """

    columns: dict[str, Any]
    boot: np.ndarray
    null: np.ndarray
    map: xr.DataArray | None = None
    expected: xr.DataArray | None = None

    def with_map(self, map_: xr.DataArray) -> _Row:
        """The same row with a map behind it."""
        return replace(self, map=map_)

    def labelled(self, **labels: Any) -> _Row:
        """The same row with further columns."""
        return replace(self, columns=labels | self.columns)


def summarise_all(subjects: Sequence[SubjectScores], settings: StatisticsSettings) -> Statistics:
    """Compute the statistics of all subjects of a model.

    Parameters
    ----------
    subjects
        Scores of any number of data sets; those of one data set are each other's peers.
    settings
        Share of the maximum for peak times.

    Returns
    -------
    Statistics
        As :func:`summarise` has them, subject by subject.
    """
    log_controls(subjects[0].signals)
    rows: list[_Row] = []
    for dataset in dict.fromkeys(subject.dataset for subject in subjects):
        group = [subject for subject in subjects if subject.dataset == dataset]
        bounds, found = absences(group, settings), _latencies(group, settings)
        for subject in group:
            peers = [peer for peer in group if peer.subject != subject.subject]
            rows += [_with_bounds(row, bounds) for row in _rows_of(subject, settings, peers, found)]
    return _statistics(rows)


def _latencies(group: Sequence[SubjectScores], settings: StatisticsSettings) -> _Found:
    """Latencies of the subjects of one data set; none where scores have no time."""
    return {} if group[0].axis == ROI else latencies(group, settings.peak_fraction)


def _with_bounds(row: _Row, bounds: Mapping[tuple[str, str], tuple[float, float]]) -> _Row:
    """Add what is known of all subjects together to the statistics of unique variance."""
    if "explainable" not in row.columns:
        return row
    absent, upper = bounds.get(
        (row.columns["signal"], row.columns.get("control", "")), (np.nan, np.nan)
    )
    return row.labelled(absent_p=absent, upper_share=upper)


def summarise(
    subject: SubjectScores, settings: StatisticsSettings, peers: Sequence[SubjectScores]
) -> Statistics:
    """Compute the statistics of one subject, observed and on all draws.

    Parameters
    ----------
    subject
        Scores over all layers of one model.
    settings
        Share of the maximum for peak times.
    peers
        The other subjects of the data set: they say where the subject's layers are scored, and
        are averaged with it for latencies. The only subject says so itself, and its statistics
        have names of their own (`OWN_PEAK`).

    Returns
    -------
    Statistics
        One row per signal, variant, statistic (and layer, region, method or control). ``boot``
        and ``null`` hold the statistic recomputed on resampled and permuted images at the level
        of units (region or time means); ``value_at_units`` is the observed statistic at that
        level, which differs from ``value`` where best layers are found per target. ``maps`` are
        the scores of each layer and unit behind statistics at peaks.
    """
    found = _latencies([subject, *peers], settings)
    return _statistics(_rows_of(subject, settings, peers, found))


def log_controls(signals: dict[str, Signal]) -> None:
    """Log what each learning signal is held against, and warn where that is little.

    Parameters
    ----------
    signals
        Signals of a set.
    """
    for name, signal in signals.items():
        if signal.role != LEARNING:
            continue
        kinds = [f"{control} ({_kind(signals[control])})" for control in signal.controls]
        if not kinds:
            log.warning(
                "%s: the signal set holds no control of it, so that C2 cannot be asked; add one, "
                "whose control_of names it or its rule and objective",
                name,
            )
        elif len(kinds) == 1:
            # Each control alone is easily exceeded for a reason of its own.
            log.warning("%s: held against a single control, %s; C2 is weak for it", name, kinds[0])
        else:
            log.info("%s: held against %d controls: %s", name, len(kinds), ", ".join(kinds))


def _kind(signal: Signal) -> str:
    return ", ".join(filter(None, (signal.rule, signal.objective)))


def _rows_of(
    subject: SubjectScores,
    settings: StatisticsSettings,
    peers: Sequence[SubjectScores],
    found: _Found,
) -> Iterator[_Row]:
    for name, signal in subject.signals.items():
        for variant in subject.variants(name):
            labels = {
                "study": subject.study,
                "dataset": subject.dataset,
                "subject": subject.subject,
                "modality": subject.modality,
                "axis": subject.axis,
                "coverage": subject.coverage,
                "model": subject.model,
                "signal": name,
                "role": signal.role,
                "rule": signal.rule,
                "objective": signal.objective,
                "variant": variant,
                "onset_source": subject.onset_source,
                "n_groups": subject.n_groups,
                "n_folds": subject.n_folds,
            }
            for rows in (
                _score_rows(subject, name, variant, peers),
                _control_rows(subject, name, variant, peers),
                _unique_rows(subject, name, peers)
                if variant == "unique" and subject.unique
                else (),
                _spatial_rows(subject, name, variant, settings)
                if subject.axis == ROI
                else _temporal_rows(subject, name, variant, settings, found),
            ):
                yield from (row.labelled(**labels) for row in rows)


def _statistics(rows: Iterable[_Row]) -> Statistics:
    rows = list(rows)
    table = pd.DataFrame.from_records(
        [row.columns for row in rows], columns=list(columns_of("hierarchy"))
    )
    table[list(PARTS)] = table[list(PARTS)].fillna("").astype(str)
    return Statistics(
        table=table,
        boot=np.stack([row.boot for row in rows]).astype(float),
        null=np.stack([row.null for row in rows]).astype(float),
        maps={place: row.map for place, row in enumerate(rows) if row.map is not None},
        expected={
            place: row.expected for place, row in enumerate(rows) if row.expected is not None
        },
    )


def _row(
    statistic: str,
    compute: Callable[[np.ndarray], np.ndarray],
    levels: tuple[np.ndarray, np.ndarray, np.ndarray],
    unit: str,
    n: int,
    *,
    value: float | None = None,
    **labels: Any,
) -> _Row:
    """Apply one statistic to the observed, resampled and permuted scores alike."""
    observed, boot, null = (compute(level) for level in levels)
    columns = {
        "statistic": statistic,
        "value": float(observed) if value is None else float(value),
        "value_at_units": float(observed),
        "unit": unit,
        "n": n,
    }
    return _Row(columns | labels, boot, null)


@dataclass(frozen=True)
class _Levels:
    """A score of each layer and unit: observed, on resampled and on permuted images.

    Attributes
    ----------
    observed
        Gives of a subject (layer, unit).
    boot, null
        Give of a subject (draw, layer, unit).
    """

    observed: ScoresOf
    boot: ScoresOf
    null: ScoresOf

    @classmethod
    def of(cls, signal: str, measure: str) -> _Levels:
        """Scores of one signal as they are stored."""
        key = (signal, measure)
        return cls(
            lambda subject: subject.unit_score[key],
            lambda subject: subject.boot[key],
            lambda subject: subject.null[key],
        )

    def beyond(self, other: _Levels) -> _Levels:
        """Minus `other` at the same layer and region or time, draw by draw."""

        def less(own: ScoresOf, theirs: ScoresOf) -> ScoresOf:
            return lambda subject: own(subject) - theirs(subject)

        return _Levels(
            less(self.observed, other.observed),
            less(self.boot, other.boot),
            less(self.null, other.null),
        )

    def read(self, subject: SubjectScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observed, boot and null of one subject."""
        return self.observed(subject), self.boot(subject), self.null(subject)


def _levels(
    subject: SubjectScores, signal: str, variant: Variant
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed (layer, unit), boot and null (draw, layer, unit)."""
    return _Levels.of(signal, subject.reading.judged[variant].name).read(subject)


def _score_rows(
    subject: SubjectScores, signal: str, variant: Variant, peers: Sequence[SubjectScores]
) -> Iterator[_Row]:
    """``score_mean`` over layers and units, ``score_at_peak`` over layers at their best unit."""
    used = subject.after_onset
    levels = _Levels.of(signal, subject.reading.judged[variant].name)
    yield _row(
        "score_mean",
        lambda scores: scores[..., used].mean(axis=(-2, -1)),
        levels.read(subject),
        subject.reading.judged[variant].unit,
        len(subject.layers) * int(used.sum()),
    )
    yield _at_peak("score_at_peak", levels, subject, peers, subject.reading.judged[variant].unit)


def _variance(subject: SubjectScores) -> UniqueVariance:
    if subject.unique is None:
        raise HierarchyError(f"{subject.subject}: its unique variance was not read")
    return subject.unique


def _unique_rows(
    subject: SubjectScores, signal: str, peers: Sequence[SubjectScores]
) -> Iterator[_Row]:
    """``unique_variance`` of a signal at its best units; of learning signals what it could be."""
    levels = _Levels.of(signal, UNIQUE_VARIANCE.name)
    row = _at_peak("unique_variance", levels, subject, peers, UNIQUE_VARIANCE.unit)
    yield _with_plants(row, subject, signal, levels, peers)


def _with_plants(
    row: _Row,
    subject: SubjectScores,
    signal: str,
    levels: _Levels,
    peers: Sequence[SubjectScores],
) -> _Row:
    """Add what a brain would show that holds the signal, at the places that the row is read at.

    Of a difference as well this is what the signal alone becomes: bounds and power of C2 are those
    of a share of which the control sees nothing.
    """
    variance = _variance(subject)
    places = peak_units(subject, peers or (subject,), levels.observed)
    shape = variance.component[signal].shape
    columns = {
        name: float(mean_at_units(np.broadcast_to(values, shape), places))
        for name, values in (
            ("explainable", variance.explainable),
            ("explained", variance.explained),
        )
    }
    for moment in MOMENTS:
        for kernel, values in zip(KERNELS, variance.moments[moment, signal], strict=True):
            # Spreads of layers add up as if one plant were in all of them.
            power = 1.0 if moment == "held" else 0.5
            mean = float(mean_at_units(np.maximum(values, 0.0) ** power, places))
            columns[f"{moment}_{kernel}"] = mean if moment == "held" else mean**2
    used = subject.after_onset
    available = np.where(np.isnan(variance.explainable), variance.explained, variance.explainable)
    expected = _labelled(
        (variance.moments["held", signal] * available)[..., used],
        subject.layers,
        np.array(subject.units)[used],
        kernels=KERNELS,
    )
    return replace(row.labelled(**columns), expected=expected)


def _control_rows(
    subject: SubjectScores, signal: str, variant: Variant, peers: Sequence[SubjectScores]
) -> Iterator[_Row]:
    """``control_difference``: the signal minus each of its controls, layer by layer."""
    if subject.signals[signal].role != LEARNING:
        return
    measure = subject.reading.judged[variant]
    own = _Levels.of(signal, measure.name)
    for control in subject.signals[signal].controls:
        # Draws are shared by all signals, so that differences are paired draw by draw.
        levels = own.beyond(_Levels.of(control, measure.name))
        row = _at_peak("control_difference", levels, subject, peers, measure.unit)
        if variant == "unique" and subject.unique is not None:
            row = _with_plants(row, subject, signal, levels, peers)
        yield row.labelled(control=control)


def _at_peak(
    statistic: str,
    levels: _Levels,
    subject: SubjectScores,
    peers: Sequence[SubjectScores],
    unit: str,
) -> _Row:
    """Mean over layers at the units that the other subjects choose, with the map behind it.

    Permuted images choose for themselves: what subjects who saw the same images share by chance
    must be in the null as it is in the choice. The same makes a test of the only subject of a data
    set, who has to choose for itself: the maximum is compared with maxima.
    """
    if not peers:
        statistic, peers = OWN_PEAK[statistic], (subject,)
    observed, boot, null = levels.read(subject)
    places = peak_units(subject, peers, levels.observed)
    value = mean_at_units(observed, places)
    used = subject.after_onset
    columns = {
        "statistic": statistic,
        "value": float(value),
        "value_at_units": float(value),
        "unit": unit,
        "n": len(subject.layers),
    }
    return _Row(
        columns,
        boot=mean_at_units(boot, places),
        null=mean_at_units(null, peak_units(subject, peers, levels.null)),
        map=_labelled(observed[:, used], subject.layers, np.array(subject.units)[used]),
    )


def _labelled(
    values: np.ndarray,
    layers: Sequence[str],
    units: Sequence[str] | np.ndarray,
    kernels: Sequence[str] = (),
) -> xr.DataArray:
    """A map with names of its layers and units."""
    return _names(tuple(layers), tuple(map(str, units)), tuple(kernels)).copy(
        deep=False, data=values
    )


@lru_cache(maxsize=64)
def _names(
    layers: tuple[str, ...], units: tuple[str, ...], kernels: tuple[str, ...]
) -> xr.DataArray:
    """A map of nothing. Thousands of maps have the same names, and these cost more than a test."""
    coords = {"kernel": list(kernels)} if kernels else {}
    coords |= {"layer": list(layers), "unit": list(units)}
    shape = [len(values) for values in coords.values()]
    return xr.DataArray(np.zeros(shape), dims=tuple(coords), coords=coords)


def _spatial_rows(
    subject: SubjectScores, signal: str, variant: Variant, settings: StatisticsSettings
) -> Iterator[_Row]:
    """``high_minus_early``, and per method the best layers of regions and their order."""
    levels = _levels(subject, signal, variant)
    names, early, high = subject.units, subject.early_rois, subject.high_rois
    contrasted = (
        {"high_minus_early": (levels, subject.reading.judged[variant].unit)}
        if subject.has_poles
        else {}
    )
    if contrasted and variant == "raw" and (signal, R_NORMALISED.name) in subject.unit_score:
        # Regions differ in how much of them can be predicted at all.
        normalised = _Levels.of(signal, R_NORMALISED.name).read(subject)
        contrasted["high_minus_early_normalised"] = (normalised, R_NORMALISED.unit)
    for statistic, (scores, unit) in contrasted.items():
        yield _row(
            statistic,
            lambda values: high_minus_early(values.mean(axis=-2), names, early, high),
            scores,
            unit,
            len(set(names) & {*early, *high}),
        )
    alike = _alike_regions(subject, levels[2])
    for method in METHODS:
        yield from _best_layer_rows(
            subject, (signal, subject.reading.judged[variant].name), levels, method, alike
        )


def _best_layer_rows(
    subject: SubjectScores,
    key: tuple[str, str],
    levels: tuple[np.ndarray, np.ndarray, np.ndarray],
    method: str,
    alike: Sequence[xr.DataArray],
) -> Iterator[_Row]:
    names, distances = subject.units, subject.roi_distance
    # As in the predecessor: best layer per target, then the mean over the targets of a region. A
    # region has one only where its best score is above chance: the best of nothing is no layer.
    passed = regions_above_chance(levels[0], levels[2])
    observed, boot, null = (
        np.where(passed, best_layer_depth(level, subject.depths, method), np.nan)
        for level in levels
    )
    depths_of_levels = (observed, boot, null)
    regions = observed
    if key in subject.target_score:
        # Unique variance is known of regions, and of no single target.
        targets = best_layer_depth(subject.target_score[key], subject.depths, method)
        regions = np.where(passed, mean_by_region(targets, subject.target_roi, names), np.nan)
    for place, roi in enumerate(names):
        yield _row(
            "best_layer_depth",
            partial(np.take, indices=place, axis=-1),
            depths_of_levels,
            "depth",
            int((subject.target_roi == roi).sum()),
            value=regions[place],
            roi=roi,
            distance_mm=distances.get(roi, np.nan),
            pole=subject.pole_of(roi),
            best_layer=method,
        ).with_map(alike[place])
    known = np.isfinite(regions)
    if has_distances(names, distances):
        placed = np.array([name in distances for name in names])
        for statistic in (SPATIAL_R, SPATIAL_RANK_R):
            correlation = partial(
                spatial_correlation,
                names=names,
                distances=distances,
                rank=statistic == SPATIAL_RANK_R,
            )
            yield _row(
                statistic,
                correlation,
                depths_of_levels,
                "r",
                int((known & placed).sum()),
                value=float(correlation(regions)),
                best_layer=method,
            )
        return
    if not subject.has_poles:
        return
    poles = (subject.early_rois, subject.high_rois)
    yield _row(
        "spatial_difference",
        lambda best: high_minus_early(best, names, *poles),
        depths_of_levels,
        "depth",
        int(known.sum()),
        value=float(high_minus_early(regions, names, *poles)),
        best_layer=method,
    )


def _alike_regions(subject: SubjectScores, null: np.ndarray) -> list[xr.DataArray]:
    """Per region, how alike its null draws are to those of each region, at each layer."""
    found = draw_correlations(null.swapaxes(0, 1))  # (layer, region, region)
    return [
        _labelled(found[:, place], subject.layers, subject.units)
        for place in range(len(subject.units))
    ]


def _alike_layers(subject: SubjectScores, null: np.ndarray) -> list[xr.DataArray]:
    """Per layer, how alike its null draws are to those of each layer, over the times."""
    over_times = draw_correlations(np.moveaxis(null[..., subject.after_onset], -1, 0)).mean(axis=0)
    return [_labelled(row[:, None], subject.layers, [ALL_TIMES]) for row in over_times]


def _temporal_rows(
    subject: SubjectScores,
    signal: str,
    variant: Variant,
    settings: StatisticsSettings,
    found: _Found,
) -> Iterator[_Row]:
    """``peak_time`` of each layer in the subject alone, where above chance; those of the group."""
    times, levels = subject.unit_time, _levels(subject, signal, variant)
    passed = exceeds_null(levels[0], levels[2], times)
    peaks = tuple(
        np.where(passed, peak_time(level, times, settings.peak_fraction), np.nan)
        for level in levels
    )
    yield from _peak_rows("peak_time", subject, peaks)
    yield from _latency_rows(subject, signal, variant, found[subject.subject, signal, variant])


def _peak_rows(
    statistic: str, subject: SubjectScores, peaks: tuple[np.ndarray, ...]
) -> Iterator[_Row]:
    """One row per layer of peak times (..., layer), observed and on draws."""
    for place, layer in enumerate(subject.layers):
        yield _row(
            statistic,
            partial(np.take, indices=place, axis=-1),
            (peaks[0], peaks[1], peaks[2]),
            "s",
            int(subject.after_onset.sum()),
            layer=layer,
            depth=float(subject.depths[place]),
        )


def _latency_rows(
    subject: SubjectScores, signal: str, variant: Variant, found: Latencies
) -> Iterator[_Row]:
    """``peak_time_jackknifed`` of each layer, their order over layers, and the lag of a signal."""
    alike = _alike_layers(subject, _levels(subject, signal, variant)[2])
    for row, map_ in zip(_peak_rows(PEAK_OF_GROUP, subject, found.peaks), alike, strict=True):
        yield row.with_map(map_)
    yield _as_row("temporal_r", found.order, "r", found.n_layers)
    if found.lag is not None:
        yield _as_row("peak_lag_ms", found.lag, "ms", found.n_lag_layers)


def _as_row(statistic: str, levels: Levels, unit: str, n: int) -> _Row:
    return _row(statistic, np.asarray, levels, unit, n)
