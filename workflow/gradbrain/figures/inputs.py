"""Results that a figure reads: opened, checked for their columns, joined over models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import xarray as xr

from gradbrain.config.schema import StatisticsSettings
from gradbrain.figures import many_models
from gradbrain.figures.declarations import RESULTS, FigureError, NothingToDraw
from gradbrain.figures.names import Names
from gradbrain.store import (
    Statistics,
    Study,
    open_tree,
    read_statistics,
    read_tables,
    with_text,
)


@dataclass(frozen=True)
class FigureInputs:
    """Results of one study, of which a figure uses those that it declares.

    Attributes
    ----------
    study
        Name of the study; rows of other studies are refused.
    scores, hierarchy, time_courses, rsa, claims, reliability, universes, specification_curve
        Files of the tidy tables; those of several models are joined.
    prediction_rsa, second_opinions, training, alikeness, rule_pairs, fusion, model_contrasts
        As these.
    hierarchy_draws
        Stores of the draws behind `hierarchy`, in the same order.
    maps
        Stores of kind ``maps``, one per model.
    names
        What is shown to readers of models, signals, data sets and modalities.
    settings
        Section ``statistics`` of the study: margins and the primary definition of best layer.
    """

    study: str
    scores: Sequence[Path] = ()
    hierarchy: Sequence[Path] = ()
    hierarchy_draws: Sequence[Path] = ()
    time_courses: Sequence[Path] = ()
    rsa: Sequence[Path] = ()
    claims: Sequence[Path] = ()
    reliability: Sequence[Path] = ()
    maps: Sequence[Path] = ()
    universes: Sequence[Path] = ()
    specification_curve: Sequence[Path] = ()
    prediction_rsa: Sequence[Path] = ()
    second_opinions: Sequence[Path] = ()
    training: Sequence[Path] = ()
    alikeness: Sequence[Path] = ()
    rule_pairs: Sequence[Path] = ()
    fusion: Sequence[Path] = ()
    model_contrasts: Sequence[Path] = ()
    names: Names = field(default_factory=Names)
    settings: StatisticsSettings = field(
        default_factory=lambda: StatisticsSettings.model_validate({})
    )

    @classmethod
    def of(cls, study: Study, kinds: Sequence[str] = RESULTS) -> FigureInputs:
        """Take the results of an opened study.

        Parameters
        ----------
        study
            Its results; names and settings are read from it as well. In a folder without them
            things are called by their keys, and settings are those of a study that says nothing.
        kinds
            Those to take; all that figures may read by default.
        """
        paths = {kind: tuple(study.paths(kind)) for kind in kinds}
        settings = StatisticsSettings.model_validate(
            study.config["statistics"] if study.has("config") else {}
        )
        return cls(study=study.name, names=Names.of(study.entries), settings=settings, **paths)

    def table(self, kind: str) -> pd.DataFrame:
        """Read and join the tables of one kind.

        Of more than eight models (:data:`gradbrain.figures.many_models.MOST_MODELS`) means are
        given: of trained and of untrained ones, layers joined by depth. Claims are never averaged.

        Parameters
        ----------
        kind
            ``scores``, ``hierarchy``, ``time_courses``, ``rsa``, ``claims``, ``reliability``,
            ``universes``, ``specification_curve``, ``prediction_rsa``, ``second_opinions``,
            ``training``, ``alikeness``, ``rule_pairs``, ``fusion`` or ``model_contrasts``.

        Raises
        ------
        FigureError
            If no file was given, or the rows belong to another study.
        StoreError
            If a file is missing or lacks a column.
        """
        paths = self._paths(kind)
        if many_models.are_many(kind, paths):
            return self._checked(kind, many_models.mean_table(kind, paths, self.names))
        return self._checked(kind, read_tables(kind, paths))

    def statistics(self) -> Statistics:
        """Read and join the statistics of the hierarchy, with their draws.

        Raises
        ------
        FigureError
            If tables or stores of draws were not given, or are of another study.
        StoreError
            If a file is missing or unreadable, or a store is not that of its table.
        """
        tables, draws = self._paths("hierarchy"), self._paths("hierarchy_draws")
        if many_models.are_many("hierarchy", tables):
            found = many_models.mean_statistics(tables, draws, self.names)
        else:
            found = read_statistics(tables, draws)
        return replace(found, table=self._checked("hierarchy", with_text(found.table)))

    def map_stores(self) -> list[xr.DataTree]:
        """Open the map stores, one per model; of many models their means.

        Raises
        ------
        FigureError
            If none was given.
        """
        paths = self._paths("maps")
        if many_models.are_many("maps", paths):
            return many_models.mean_maps(paths, self.names)
        return [open_tree(path, kind="maps") for path in paths]

    def _paths(self, kind: str) -> Sequence[Path]:
        paths: Sequence[Path] = getattr(self, kind)
        if not paths:
            option = kind.replace("_", "-")
            raise FigureError(
                f"this figure needs results of kind {kind!r}: pass --{option} PATH [PATH ...]"
            )
        return paths

    def _checked(self, kind: str, frame: pd.DataFrame) -> pd.DataFrame:
        """A table, or an error if it is of another study."""
        others = sorted(set(frame["study"]) - {self.study}) if "study" in frame else []
        if others:
            raise FigureError(
                f"the {kind} tables hold rows of study {others}, expected {self.study!r} only; "
                f"pass tables below results/{self.study}/"
            )
        return frame


def require_rows(frame: pd.DataFrame, *, figure: str, what: str) -> pd.DataFrame:
    """Return the table, or say what the study lacks for this figure.

    Raises
    ------
    NothingToDraw
        If the table has no row.
    """
    if frame.empty:
        raise NothingToDraw(
            f"figure {figure!r} has nothing to draw: the results hold no {what}; leave the figure "
            f"out of figures.names or add a data set to which it applies"
        )
    return frame


def require_columns(frame: pd.DataFrame, columns: Sequence[str], *, figure: str) -> None:
    """Check the table behind a figure.

    Raises
    ------
    FigureError
        If a column is missing or there is no row.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise FigureError(
            f"figure {figure!r}: the table lacks the column(s) {missing}; it has "
            f"{list(frame.columns)}; build it with this module's select()"
        )
    require_rows(frame, figure=figure, what="rows")
