"""Second opinions: what is asked twice, what is only described, and what the page says of it."""

import numpy as np
import pandas as pd
import pytest
import score_rdms
import test_second_opinions as script
import xarray as xr
from trees.unique_variance import write_unique

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.claims import judge
from gradbrain.hierarchy.errors import HierarchyError
from gradbrain.hierarchy.rdm_scores import rdm_scores
from gradbrain.hierarchy.second_opinion import (
    TESTED,
    TESTS,
    agreement,
    second_opinions,
    second_page,
)
from gradbrain.hierarchy.subject_scores import read_subjects
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.store import open_store, read_statistics, read_table, write_store, write_table
from gradbrain.vocabulary.artefacts import columns_of

SETTINGS = StatisticsSettings()
LAYERS = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
DEPTHS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
N_SUBJECTS = 6
# Measure of the scores -> measure of the dissimilarities that are made of them here.
MEASURES = {"r": "rdm_r", "unique_r2": "unique_rdm_r"}


def truth(signal, measure, depth):
    """A hierarchy; the signal has it raw, and a unique part."""
    profile = 0.5 - 0.2 * np.abs(DEPTHS - depth) + 0.05 * DEPTHS
    if measure == "unique_r2":
        return (0.3 if signal == "gradient_dino" else 0.01) * profile
    return profile if signal in ("activation", "all_activations") else 0.6 * profile


def add_rdms(path):
    """Give an encoding store the dissimilarities that are as good as its scores."""
    store = open_store(path, kind="encoding").load()
    kept = np.flatnonzero(np.isin(store["measure"].values, list(MEASURES)))
    rdms = {"rdm_score": (("rdm_row", "unit"), store["unit_score"].values[kept])}
    for name in ("boot", "null"):
        rdms[f"rdm_{name}"] = (("draw", "rdm_row", "unit"), store[name].values[:, kept])
    coords = {
        f"rdm_{name}": ("rdm_row", store[name].values[kept])
        for name in ("signal", "role", "rule", "objective")
    }
    measures = [MEASURES[name] for name in store["measure"].values[kept]]
    coords["rdm_measure"] = ("rdm_row", np.array(measures))
    full = xr.merge([store, xr.Dataset(rdms, coords=coords)], combine_attrs="override")
    n_units = store.sizes["unit"]
    place = LAYERS.index(store.attrs["layer"])
    full.attrs |= {"n_rdm_groups": 100, "onset_source": "", "layer_index": place}
    full.attrs |= {"n_unit_targets": [4] * n_units, "n_unit_masked": [0] * n_units}
    write_store(path, full, kind="encoding")
    return path


@pytest.fixture(scope="module")
def fits(make_encoding_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    return [
        add_rdms(
            make_encoding_store(
                folder / layer / f"brain-s{person}.zarr",
                layer=layer,
                subject=f"brain-s{person}",
                truth=truth,
                seed=10 * person,
            )
        )
        for person in range(N_SUBJECTS)
        for layer in LAYERS
    ]


@pytest.fixture(scope="module")
def first(fits, signal_set):
    subjects = read_subjects(fits, signal_set, write_unique(fits))
    return judge(summarise_all(subjects, SETTINGS), SETTINGS, study="test")


def opinions_of(first, paths, signal_set, change=lambda store: store):
    fits = [(path, change(open_store(path, kind="encoding").load())) for path in paths]
    subjects = rdm_scores(fits, signal_set)
    return second_opinions(first, summarise_all(subjects, SETTINGS), SETTINGS, study="test")


def without_similarity(store):
    """The same store, of predictions whose dissimilarities are none of the brain's."""
    shift = store["rdm_score"]
    return store.assign(rdm_score=0 * shift, rdm_boot=store["rdm_boot"] - shift)


@pytest.fixture(scope="module")
def opinions(first, fits, signal_set):
    return opinions_of(first, fits, signal_set)


def one(table, prediction, variant):
    rows = table[(table["prediction"] == prediction) & (table["variant"] == variant)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_only_a1_and_raw_p1_and_p2_are_asked_twice():
    assert {("A1", "raw"), ("P1", "raw"), ("P2", "raw")} == TESTED


def test_there_is_a_second_opinion_on_every_claim_and_the_first_verdict_beside_it(first, opinions):
    assert list(opinions.columns) == list(columns_of("second_opinions"))
    keys = ["prediction", "dataset", "model", "signal", "variant"]
    assert opinions[keys].values.tolist() == first[keys].values.tolist()
    assert opinions["first_verdict"].tolist() == first["verdict"].tolist()


def test_unique_parts_are_described_and_never_tested(first, opinions):
    for row in opinions.to_dict("records"):
        key = row["prediction"], row["variant"]
        if key in TESTED:
            assert np.isfinite(row["p"]) and row["verdict"] != "descriptive", key
            continue
        assert row["verdict"] == "descriptive" and row["agreement"] == "", key
        assert np.isnan([row[name] for name in TESTS]).all(), key
        beside = row["variant"] == "unique" or row["prediction"] == "C2"
        assert row["reason"] == ("reweighting" if beside else ""), key
        assert np.isfinite(row["estimate"]) and np.isfinite(row["ci_low"]), key
    # The signal has a unique part, and the first opinion of it stays what it is.
    assert one(first, "C1", "unique")["verdict"] == "supported"
    assert one(opinions, "C1", "unique")["first_verdict"] == "supported"


def test_the_same_numbers_get_the_same_estimates_and_verdicts(first, opinions):
    for prediction in ("P1", "P2"):
        own, other = (one(table, prediction, "raw") for table in (opinions, first))
        for column in ("estimate", "ci_low", "p", "p_min"):
            assert own[column] == pytest.approx(other[column], abs=1e-6), (prediction, column)
    assert set(opinions.loc[opinions["agreement"] != "", "agreement"]) == {"agrees"}
    unique = one(opinions, "C1", "unique")
    assert unique["estimate"] == one(opinions, "P1", "unique")["estimate"] > 0.05


def test_a_claim_that_dissimilarities_do_not_show_is_the_first_ones_alone(first, fits, signal_set):
    found = opinions_of(first, fits, signal_set, without_similarity)
    raw = one(found, "P1", "raw")
    assert (raw["first_verdict"], raw["verdict"]) == ("supported", "undetermined")
    assert raw["agreement"] == "first_only"
    assert "3 first only (the second is undetermined)" in second_page(found, study="test")


def test_statistics_of_other_claims_are_refused(first, fits, signal_set):
    with pytest.raises(HierarchyError, match=r"1 of 10 claims are in one of both tables only"):
        opinions_of(first.iloc[1:], fits, signal_set)


def test_fits_without_dissimilarities_are_refused_with_what_to_set(
    make_encoding_store, signal_set, tmp_path
):
    path = make_encoding_store(tmp_path / "s.zarr", layer="blocks.0", truth=truth)
    with pytest.raises(HierarchyError, match=r"s\.zarr.*rsa\.encoding(.|\n)*rm -r"):
        rdm_scores([(path, open_store(path, kind="encoding"))], signal_set)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("supported", "supported"), "agrees"),
        (("contradicted", "contradicted"), "agrees"),
        (("supported", "contradicted"), "disagrees"),
        (("supported", "undetermined"), "first_only"),
        (("undetermined", "contradicted"), "second_only"),
        (("undetermined", "undetermined"), "neither"),
        (("supported", "descriptive"), ""),
        (("descriptive", "descriptive"), ""),
    ],
)
def test_two_verdicts_agree_or_do_not(verdicts, expected):
    assert agreement(*verdicts) == expected


def test_the_page_names_both_verdicts_of_every_claim(opinions):
    page = second_page(opinions, study="test")
    assert "Of the claims that are tested twice: 3 agrees (both have the same verdict)." in page
    assert "| A1 | activation | raw | supported | **supported**" in page
    assert "| C1 | gradient_dino | unique | supported | **descriptive** 0." in page
    assert "nan" not in page
    described = opinions.assign(agreement="")
    assert "tested twice: none." in second_page(described, study="test")


def test_the_scripts_write_what_the_functions_return(opinions, first, fits, signal_set, tmp_path):
    folder = fits[0].parents[1]
    table, scores = tmp_path / "net.parquet", tmp_path / "scores.parquet"
    subjects = [f"brain-s{person}" for person in range(N_SUBJECTS)]
    ceilings = tmp_path / "ceilings.parquet"
    row = dict.fromkeys(columns_of("rdm_ceilings"), "") | {
        "dataset": "brain", "subject": "brain-s0", "axis": "roi", "roi": "V1", "roi_rank": 0,
        "time": np.nan, "ceiling_low": 0.4, "ceiling_high": 0.6, "n_other_subjects": 5,
    }  # fmt: skip
    write_table(ceilings, pd.DataFrame([row]), kind="rdm_ceilings")
    score_rdms.main([
        "--fits", str(folder), "--layers", *LAYERS, "--subjects", *subjects,
        "--signal-set", signal_set.model_dump_json(), "--ceilings", str(ceilings),
        "--table", str(scores), "--output", str(table), "--draws", str(table.with_suffix(".zarr")),
    ])  # fmt: skip
    written = read_table(scores, kind="prediction_rsa")
    known = written["ceiling_low"].notna()
    assert set(written.loc[known, "subject"]) == {"brain-s0"}
    assert set(written.loc[known, "roi"]) == {"V1"} and set(written["roi"]) > {"V1"}
    statistics = read_statistics([table], [table.with_suffix(".zarr")])
    assert set(statistics.table["variant"]) == {"raw", "unique"}
    claims, output, page = (tmp_path / name for name in ("c.csv", "second.csv", "second.md"))
    write_table(claims, first, kind="claims")
    script.main([
        "--claims", str(claims), "--tables", str(table), "--draws", str(table.with_suffix(".zarr")),
        "--study", "test", "--output", str(output), "--summary", str(page),
    ])  # fmt: skip
    again = read_table(output, kind="second_opinions")
    assert again["verdict"].tolist() == opinions["verdict"].tolist()
    np.testing.assert_allclose(again["estimate"], opinions["estimate"], rtol=1e-6)
    assert page.read_text().startswith("# Second opinions on the claims of the study test")
