"""The Natural Scenes Dataset end to end, in its published layout and at its full width.

Each session file is as long as a published one (491 MB, 163,842 vertices × 750 trials); all but
the first 642 vertices of each hemisphere are holes of sparse files and lie in no region.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from trees.nsd import FULL_WIDTH, STREAMS, write_nsd_tree

from gradbrain.store import open_store, read_table

HERE = Path(__file__).resolve().parent
STUDY = "tests/workflow/nsd/study.yaml"
N_LIVE = 642
SESSION_BYTES = 284 + FULL_WIDTH * 750 * 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("download") / "natural-scenes-dataset"
    return write_nsd_tree(
        root, subjects=(1, 3), width=FULL_WIDTH, n_live=N_LIVE, n_labelled=280, nan_vertices=(5,)
    )


@pytest.fixture(scope="module")
def finished(fresh_checkout, tree):
    checkout = fresh_checkout("nsd")
    shutil.copytree(HERE / "nsd", checkout.folder / "tests/workflow/nsd")
    roots = f"roots={{mini_nsd: {tree.root}}}"
    checkout.snakemake("--configfile", STUDY, "--config", roots, "--nocolor")
    return checkout


def test_the_session_files_have_the_published_length_and_take_little_of_the_disk(tree):
    files = sorted((tree.root / "nsddata_betas").rglob("*.betas_session*.mgh"))
    assert len(files) == 8
    assert all(SESSION_BYTES <= file.stat().st_size < SESSION_BYTES + 100 for file in files)
    assert sum(512 * file.stat().st_blocks for file in files) < SESSION_BYTES / 2


def test_responses_of_each_person_are_those_of_its_own_images(finished, tree):
    for number in (1, 3):
        path = finished.folder / f"results/mini/responses/mini_nsd-subj{number:02d}.zarr"
        store = open_store(path, kind="responses", verify=True)
        assert store.sizes == {"image": 500, "target": 2 * 280 - 1}
        assert store.attrs["n_masked_targets"] == 1
        assert list(store.attrs["roi_order"]) == list(STREAMS)
        identities = [int(name.removeprefix("nsd-")) + 1 for name in store["image_id"].values]
        assert identities == sorted(set(tree.shown(number, 1)) | set(tree.shown(number, 2)))
        total = np.zeros((500, N_LIVE))
        for session in (1, 2):
            betas = tree.betas(number, session, "rh").astype(np.float64)
            betas = (betas - betas.mean(axis=0)) / betas.std(axis=0)
            rows = np.searchsorted(identities, tree.shown(number, session))
            np.add.at(total, rows, betas / 3)
        right = store["hemisphere"].values == "right"
        np.testing.assert_allclose(
            store["response"].values[:, right],
            total[:, store["vertex"].values[right]],
            rtol=1e-3,
            atol=1e-4,
        )


def test_the_study_reaches_its_claims_and_all_figures_of_cortex(finished):
    results = finished.folder / "results/mini"
    claims = read_table(results / "claims.csv")
    assert {"A1", "P1", "C1"} <= set(claims["prediction"])
    assert set(claims["dataset"]) == {"mini_nsd"}
    for name in ("cortical_map", "best_layer_by_distance", "encoding_by_region"):
        for suffix in ("pdf", "png", "csv"):
            assert (results / f"figures/{name}.{suffix}").stat().st_size > 0
    drawn = read_table(results / "figures/cortical_map.csv")
    assert set(drawn["dataset"]) == {"mini_nsd"}
    assert drawn["vertex"].max() < N_LIVE
    distances = read_table(results / "figures/best_layer_by_distance.csv")
    assert np.isfinite(distances["distance_mm"]).all()
    assert (results / "report.html").exists()


def test_what_was_planted_is_found(finished):
    # Responses follow the mean colour of an image, which the first layers of any network carry.
    scores = read_table(finished.folder / "results/mini/scores/mini_mobilenet.parquet")
    found = scores[(scores["signal"] == "activation") & (scores["measure"] == "r")]
    assert found["value"].max() > 0.2


def test_a_cut_session_stops_the_study_before_any_job(finished, tree, tmp_path):
    damaged = tmp_path / "damaged"
    for path in tree.root.rglob("*"):
        if path.is_file():
            link = damaged / path.relative_to(tree.root)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    cut = damaged / tree.session_file(3, 2, "rh").relative_to(tree.root)
    cut.unlink()
    content = tree.session_file(3, 2, "rh").open("rb").read(100_000)
    cut.write_bytes(content)
    done = finished.snakemake(
        "--configfile",
        STUDY,
        "--config",
        f"roots={{mini_nsd: {damaged}}}",
        "study=other",
        "--nocolor",
        check=False,
    )
    assert done.returncode != 0
    assert f"{cut.name}: is cut short: 100000 bytes" in done.stdout + done.stderr
    assert not (finished.folder / "results/other").exists()
