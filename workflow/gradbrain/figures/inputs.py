"""Results that a figure reads: opened, checked for their columns, joined over models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import xarray as xr

from gradbrain.config.schema import StatisticsSettings
from gradbrain.figures.declarations import FigureError
from gradbrain.store import open_store, read_table
from gradbrain.store.columns import (
    CLAIM_COLUMNS,
    HIERARCHY_COLUMNS,
    JOINED_SCORE_COLUMNS,
    RSA_COLUMNS,
)

#: Columns of each kind of table.
COLUMNS_OF = {
    "scores": JOINED_SCORE_COLUMNS,
    "hierarchy": HIERARCHY_COLUMNS,
    "rsa": RSA_COLUMNS,
    "claims": CLAIM_COLUMNS,
}


@dataclass(frozen=True)
class FigureInputs:
    """Results of one study, of which a figure uses those that it declares.

    Attributes
    ----------
    study
        Name of the study; rows of other studies are refused.
    scores, hierarchy, rsa, claims
        Files of the tidy tables; those of several models are joined.
    maps
        Stores of kind ``maps``, one per model.
    settings
        Section ``statistics`` of the study: margins and the primary definition of best layer.
    """

    study: str
    scores: Sequence[Path] = ()
    hierarchy: Sequence[Path] = ()
    rsa: Sequence[Path] = ()
    claims: Sequence[Path] = ()
    maps: Sequence[Path] = ()
    settings: StatisticsSettings = field(
        default_factory=lambda: StatisticsSettings.model_validate({})
    )

    def table(self, kind: str) -> pd.DataFrame:
        """Read and join the tables of one kind.

        Parameters
        ----------
        kind
            ``scores``, ``hierarchy``, ``rsa`` or ``claims``.

        Raises
        ------
        FigureError
            If no file was given, or the rows belong to another study.
        StoreError
            If a file is missing or lacks a column.
        """
        paths: Sequence[Path] = getattr(self, kind)
        if not paths:
            raise FigureError(
                f"this figure needs the table {kind!r}: pass --{kind} FILE [FILE ...]"
            )
        tables = [read_table(path, COLUMNS_OF[kind]) for path in paths]
        frame = pd.concat(tables, ignore_index=True)
        if "study" in frame:
            others = sorted(set(frame["study"].astype(str)) - {self.study})
            if others:
                raise FigureError(
                    f"the {kind} tables hold rows of study {others}, expected {self.study!r} only; "
                    f"pass tables below results/{self.study}/"
                )
        for column in ("signal", "roi", "dataset", "model", "subject", "layer", "variant"):
            if column in frame:
                frame[column] = frame[column].astype(object).where(frame[column].notna(), "")
        return frame

    def map_stores(self) -> list[xr.Dataset]:
        """Open the map stores, one per model.

        Raises
        ------
        FigureError
            If none was given.
        """
        if not self.maps:
            raise FigureError("this figure needs map stores: pass --maps FOLDER [FOLDER ...]")
        return [open_store(path, kind="maps") for path in self.maps]


def require_rows(frame: pd.DataFrame, *, figure: str, what: str) -> pd.DataFrame:
    """Return the table, or say what the study lacks for this figure.

    Raises
    ------
    FigureError
        If the table has no row.
    """
    if frame.empty:
        raise FigureError(
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
