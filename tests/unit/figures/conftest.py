"""The invented study as figures get it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from trees.invented_study import (
    Invented,
    claims_table,
    inputs_of,
    write_responses,
    write_study,
)

from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.names import Names


@pytest.fixture(scope="session")
def invented() -> Invented:
    """What the invented study holds."""
    return Invented()


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, invented: Invented) -> dict[str, list[Path]]:
    """Files of the invented study, by kind of result."""
    return write_study(tmp_path_factory.mktemp("invented"), invented)


@pytest.fixture(scope="session")
def count_stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Response stores and score tables."""
    return write_responses(tmp_path_factory.mktemp("counts"))


@pytest.fixture
def claims(invented: Invented) -> pd.DataFrame:
    """Claims of the invented study."""
    return claims_table(invented)


@pytest.fixture(scope="session")
def figure_inputs(study: dict[str, list[Path]]) -> FigureInputs:
    """All results of the invented study, as figures get them."""
    return inputs_of(study)


@pytest.fixture(scope="session")
def names(figure_inputs: FigureInputs) -> Names:
    """What readers see of the invented study."""
    return figure_inputs.names
