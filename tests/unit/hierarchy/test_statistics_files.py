"""What the statistics of a model are after they were written and read."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.store import StoreError, open_tree, read_statistics, write_statistics

SETTINGS = StatisticsSettings()


def truth(signal, measure, depth):
    return np.linspace(0.1, 0.3, 5) * depth


@pytest.fixture
def write(make_subject_stores, read_scores, tmp_path):
    """Write the statistics of a model with two subjects; return them and both paths."""

    def make(model="net", n_draws=10, subjects=("s1", "s2"), **facts):
        facts = {"truth": truth, "model": model, "n_draws": n_draws, **facts}
        paths = [
            path
            for seed, subject in enumerate(subjects)
            for path in make_subject_stores(subject, seed=seed, **facts)
        ]
        statistics = summarise_all(read_scores(paths), SETTINGS)
        table, draws = tmp_path / f"{model}.parquet", tmp_path / f"{model}.zarr"
        write_statistics(table, draws, statistics, attrs={"study": "test", "model": model})
        return statistics, table, draws

    return make


def test_what_is_written_is_read_back(write):
    statistics, table, draws = write()
    found = read_statistics([table], [draws])
    pd.testing.assert_frame_equal(found.table, statistics.table, check_exact=True)
    np.testing.assert_array_equal(found.boot, statistics.boot)
    np.testing.assert_array_equal(found.null, statistics.null)
    assert set(found.maps) == set(statistics.maps)
    for row, one in statistics.maps.items():
        np.testing.assert_array_equal(found.maps[row], one)
        assert list(found.maps[row]["unit"].values) == list(one["unit"].values)
        assert list(found.maps[row]["layer"].values) == list(one["layer"].values)
    # Nobody asks what a control could have been.
    known = {row for row, one in statistics.expected.items() if np.isfinite(one).any()}
    assert set(found.expected) == known
    for row in known:
        xr.testing.assert_equal(found.expected[row], statistics.expected[row])


def test_the_store_says_of_each_row_what_the_table_says(write):
    statistics, _, draws = write()
    group = open_tree(draws, kind="hierarchy_draws")["brain"].to_dataset()
    for name in ("subject", "signal", "role", "rule", "objective", "statistic", "control"):
        np.testing.assert_array_equal(group[name], statistics.table[name].to_numpy(dtype=str))
    assert group["boot"].dims == ("row", "draw")


def test_undefined_draws_are_nan(write):
    _, table, draws = write(subjects=("s1",))
    found = read_statistics([table], [draws])
    # Nobody else says where a layer is scored.
    alone = found.table.index[found.table["statistic"] == "score_at_peak"]
    assert np.isnan(found.boot[alone]).all() and np.isnan(found.null[alone]).all()


def test_models_are_joined_with_their_draws_and_maps(write):
    parts = [write(model=model) for model in ("a", "b")]
    found = read_statistics([part[1] for part in parts], [part[2] for part in parts])
    n_rows = len(parts[0][0].table)
    assert list(found.table["model"]) == ["a"] * n_rows + ["b"] * n_rows
    np.testing.assert_array_equal(found.boot[n_rows:], parts[1][0].boot)
    row = next(iter(parts[1][0].maps))
    np.testing.assert_array_equal(found.maps[n_rows + row], parts[1][0].maps[row])
    row = next(iter(parts[1][0].expected))
    np.testing.assert_array_equal(found.expected[n_rows + row], parts[1][0].expected[row])


def test_files_that_do_not_belong_together_are_refused(write):
    _, table, draws = write(model="a")
    _, few, few_draws = write(model="b", n_draws=7)
    _, short, _ = write(model="c", subjects=("s1",))
    with pytest.raises(StoreError, match=r"hold \[7, 10\] draws; .*same encoding\.n_draws"):
        read_statistics([table, few], [draws, few_draws])
    with pytest.raises(StoreError, match="they are of different runs"):
        read_statistics([short], [draws])
    with pytest.raises(StoreError, match="0 tables of statistics and 0 stores"):
        read_statistics([], [])
    with pytest.raises(StoreError, match="2 tables of statistics and 1 stores"):
        read_statistics([table, few], [draws])
