"""The science end to end, from encoding scores to verdicts, through the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trees.unique_variance import write_unique

from gradbrain.store import open_tree, read_table, write_table

ROOT = Path(__file__).resolve().parents[3]
LAYERS = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
DEPTHS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
TIMES = np.round(np.arange(-0.08, 0.81, 0.04), 3)
N_SUBJECTS = 6
SETTINGS = json.dumps({})


def run_script(name, *arguments, check=True):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, *map(str, arguments)],
        check=check,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def spatial_truth(backprop):
    """Gradients inherit the order of activations in raw scores, in either world."""

    def truth(signal, measure, depth):
        profile = 0.5 - 0.2 * np.abs(DEPTHS - depth) + 0.05 * DEPTHS
        if measure != "unique_r2":
            return profile if signal in ("activation", "all_activations") else 0.6 * profile
        if signal == "gradient_dino" and backprop:
            return 0.3 * profile
        return np.full(5, 0.004)

    return truth


def temporal_truth(backprop):
    def bump(centre, height):
        return height * np.exp(-(((TIMES - centre) / 0.06) ** 2)) * (TIMES > 0)

    def truth(signal, measure, depth):
        if measure == "unique_r2":
            if signal == "gradient_dino" and backprop:
                return bump(0.7 - 0.3 * depth, 0.25)
            return bump(0.1 + 0.2 * depth, 0.002)
        height = 0.5 if signal in ("activation", "all_activations") else 0.3
        return bump(0.1 + 0.2 * depth, height)

    return truth


@pytest.fixture(scope="module")
def claims(make_encoding_store, signal_set, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("worlds")
    subjects, stores = [], []
    worlds = (("feedforward", False), ("backprop", True))
    for seed in range(N_SUBJECTS):
        for world, backprop in worlds:
            for modality, truth in (("fmri", spatial_truth), ("meg", temporal_truth)):
                dataset = f"{modality}_{world}"
                subject = f"{dataset}-s{seed + 1}"
                subjects.append(subject)
                stores += [
                    make_encoding_store(
                        tmp_path / layer / f"{subject}.zarr",
                        layer=layer,
                        subject=subject,
                        dataset=dataset,
                        modality=modality,
                        truth=truth(backprop),
                        seed=100 * seed + 10 * backprop + (modality == "meg"),
                        # A share that is absent has to be so at each of a hundred places.
                        noise=0.001,
                    )
                    for layer in LAYERS
                ]
    table = tmp_path / "hierarchy" / "net.parquet"
    draws = table.with_suffix(".zarr")
    run_script(
        "score_hierarchy.py", "--fits", tmp_path, "--layers", *LAYERS, "--subjects", *subjects,
        "--signal-set", signal_set.model_dump_json(), "--settings", SETTINGS,
        "--unique", *write_unique(stores),
        "--output", table, "--draws", draws, "--times", table.with_name("times.parquet"),
    )  # fmt: skip
    output, summary = tmp_path / "claims.csv", tmp_path / "claims.md"
    arguments = ("--tables", table, "--draws", draws, "--settings", SETTINGS, "--study", "test")
    run_script("test_claims.py", *arguments, "--output", output, "--summary", summary)
    assert "## fmri_backprop × net" in summary.read_text()
    return read_table(output, kind="claims")


EXPECTED = {
    # prediction, variant: feedforward brain, backprop brain
    ("A1", "raw"): ("supported", "supported"),
    ("P1", "raw"): ("supported", "supported"),
    ("P2", "raw"): ("supported", "supported"),
    ("P3", "raw"): ("descriptive", "descriptive"),
    ("P4", "raw"): ("descriptive", "descriptive"),
    ("P5", "raw"): ("descriptive", "descriptive"),
    ("C1", "unique"): ("contradicted", "supported"),
    ("C2", "unique"): ("undetermined", "supported"),
    ("P3", "unique"): ("undetermined", "supported"),
    ("P4", "unique"): ("undetermined", "supported"),
    ("P5", "unique"): ("undetermined", "supported"),
}


def test_unique_parts_tell_the_worlds_apart_and_raw_scores_do_not(claims):
    assert set(claims["dataset"]) == {
        f"{modality}_{world}"
        for modality in ("fmri", "meg")
        for world in ("feedforward", "backprop")
    }
    for (prediction, variant), expected in EXPECTED.items():
        rows = claims[(claims["prediction"] == prediction) & (claims["variant"] == variant)]
        assert len(rows), prediction
        for world, wanted in zip(("feedforward", "backprop"), expected, strict=True):
            found = rows[rows["dataset"].str.endswith(world)]
            assert set(found["verdict"]) == {wanted}, (prediction, variant, world)
    # Without a planted gradient a peak of its unique part may not exist in every subject.
    assert set(claims.loc[claims["q"].notna(), "inference"]) == {"population"}
    # Raw, the signal sits where the activation sits in a brain that holds no gradient at all.
    raw = claims[(claims["prediction"] == "P5") & (claims["variant"] == "raw")]
    assert (raw["estimate"] > 0.8).all()


def test_equal_stores_give_equal_tables(make_encoding_store, signal_set, tmp_path):
    stores = [
        make_encoding_store(tmp_path / layer / "s1.zarr", layer=layer, truth=spatial_truth(True))
        for layer in LAYERS
    ]
    unique = write_unique(stores)
    tables = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
    for table, layers in zip(tables, (LAYERS, LAYERS[::-1]), strict=True):
        run_script(
            "score_hierarchy.py", "--fits", tmp_path, "--layers", *layers, "--subjects", "s1",
            "--signal-set", signal_set.model_dump_json(), "--unique", *unique,
            "--output", table, "--draws", table.with_suffix(".zarr"),
            "--times", table.with_name(f"times_{table.name}"),
        )  # fmt: skip
    assert tables[0].read_bytes() == tables[1].read_bytes()
    stores = [open_tree(table.with_suffix(".zarr"), kind="hierarchy_draws") for table in tables]
    assert stores[0].attrs["digest"] == stores[1].attrs["digest"]
    assert (stores[0].attrs["study"], stores[0].attrs["model"]) == ("test", "net")


def test_tables_hold_numbers_and_text_and_no_lists(make_encoding_store, signal_set, tmp_path):
    path = tmp_path / "blocks.0" / "s1.zarr"
    make_encoding_store(path, layer="blocks.0", truth=spatial_truth(True))
    table = tmp_path / "net.parquet"
    run_script(
        "score_hierarchy.py", "--fits", tmp_path, "--layers", "blocks.0", "--subjects", "s1",
        "--signal-set", signal_set.model_dump_json(), "--unique", *write_unique([path]),
        "--output", table, "--draws", tmp_path / "net.zarr", "--times", tmp_path / "times.parquet",
    )  # fmt: skip
    types = pq.read_schema(table).types
    assert not any(pa.types.is_nested(kind) for kind in types)


def test_estimates_lie_in_their_intervals(claims):
    known = claims[claims["ci_low"].notna()]
    # Only a brain without the signal may lack a peak of its unique part in all but one.
    missing = claims[claims["ci_low"].isna()]
    assert (missing["n"] < 2).all() and missing["dataset"].str.endswith("feedforward").all()
    # Peak times are discrete, and their bootstrap can lie on one side by a rounding.
    assert (known["ci_low"] <= known["estimate"] + 1e-9).mean() > 0.95
    assert (known["ci_high"] >= known["estimate"] - 1e-9).mean() > 0.95


def test_bad_input_ends_with_one_clear_line(signal_set, tmp_path):
    write_table(tmp_path / "bad.parquet", pd.DataFrame({"study": ["test"]}))
    failed = run_script(
        "test_claims.py", "--tables", tmp_path / "bad.parquet", "--draws", tmp_path / "bad.zarr",
        "--study", "test",
        "--output", tmp_path / "c.csv", "--summary", tmp_path / "c.md", check=False,
    )  # fmt: skip
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ") and "lacks the column(s) dataset" in failed.stderr
    assert not (tmp_path / "c.csv").exists()
    fits = ("--fits", tmp_path, "--layers", "none", "--subjects", "s1", "--output", "x.parquet")
    fits += (
        "--draws",
        "x.zarr",
        "--times",
        "t.parquet",
        "--signal-set",
        signal_set.model_dump_json(),
    )
    failed = run_script("score_hierarchy.py", *fits, check=False)
    assert failed.returncode == 1
    assert f"{tmp_path}/none/s1.zarr: there is no such store" in failed.stderr
    failed = run_script("score_hierarchy.py", *fits, "--settings", '{"alfa": 1}', check=False)
    assert failed.returncode == 2 and "alfa" in failed.stderr
