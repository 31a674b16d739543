"""The tutorial is run as printed: its files are written, its commands typed, its figures there."""

from __future__ import annotations

import re

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from readme.conftest import ROOT, Clone

from gradbrain.config.registries import Registries
from gradbrain.datasets.registry import read_options
from gradbrain.store import open_store, read_table

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
# A file's name in a line of its own, before its content; or a block of commands.
BLOCKS = re.compile(r"(?:^`([\w/.]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def follow(clone: Clone) -> str:
    """Do what the page says, in its order; return what its commands printed."""
    printed = ""
    for name, language, content in BLOCKS.findall(PAGE):
        if name:
            (clone.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (clone.folder / name).write_text(content, encoding="utf-8")
        elif language == "bash":
            printed += clone.run(content)
    return printed


@pytest.fixture(scope="module")
def printed(after_the_demo):
    return follow(after_the_demo)


@pytest.fixture(scope="module")
def followed(after_the_demo, printed):
    return after_the_demo.folder


def test_the_page_leads_to_figures_and_claims(followed):
    results = followed / "results" / "my_study"
    figures = {path.stem for path in (results / "figures").glob("*.pdf")}
    assert {"encoding_by_region", "best_layer_by_distance", "claims_overview"} <= figures
    claims = read_table(results / "claims.csv")
    assert set(claims["dataset"]) == {"brain_data"}
    assert {"A1", "P1", "C1"} <= set(claims["prediction"])
    assert "brain_data" in (results / "report.html").read_text()


def test_one_person_with_a_cap_on_leads_there_as_well(followed, printed):
    results = followed / "results" / "my_eeg"
    assert {path.stem for path in (results / "figures").glob("*.pdf")} >= {
        "control_comparison",
        "encoding_over_time",
        "sensor_topography",
    }
    claims = read_table(results / "claims.csv")
    assert set(claims["n_subjects"]) == {1}
    assert "eeg_data" in (results / "report.html").read_text()
    assert "notice: data set 'eeg_data' has one subject" in printed


def test_commands_say_what_they_do_besides(followed, printed):
    # The link is made by the dry run, and told once.
    assert printed.count(f"data/brain_data -> {followed / 'brain_data'}") == 1
    # Sizes are read from the files: 48 images and 40 targets.
    assert re.search(r"my_study: \d+ jobs", printed)
    # The ceiling computed by hand is that of the study, as the page says.
    [said] = re.findall(r"It prints `(mean ceiling [^`]+)`", PAGE)
    assert said in printed
    # With so few images penalties reach the end of the grid, and the run says so.
    assert re.search(r"note +\d of 6 fits have more than 10% of penalties on the edge", printed)


def test_other_poles_of_the_hierarchy_make_responses_anew_and_no_features(followed, after_the_demo):
    entry = followed / "my_study" / "datasets.yaml"
    text = entry.read_text()
    entry.write_text(text.replace("early_rois: [V1, V2]", "early_rois: [V1]"))
    options = "--cores 1 --dry-run --quiet rules --configfile my_study/study.yaml"
    said = after_the_demo.run(f"snakemake {options}")
    entry.write_text(text)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE))
    assert (jobs["prepare_responses"], jobs["fit_encoding"]) == ("2", "6")
    assert not {name for name in jobs if name.startswith(("prepare_stimuli", "extract_"))}


def test_what_was_described_is_what_was_analysed(followed):
    store = open_store(
        followed / "results" / "my_study" / "responses" / "brain_data-alice.zarr", kind="responses"
    )
    assert store.sizes == {"image": 48, "target": 40}
    assert set(store["n_repeats"].values) == {2}
    assert store.attrs["units"] == "percent signal change"
    assert store.attrs["roi_distance"] == {"V1": 0, "V2": 10, "V3": 20, "LO": 30}
    # Signal and noise of one presentation have the same variance: two averaged leave 2/3.
    assert abs(float(store["noise_ceiling"].mean()) - 2 / 3) < 0.1
    # Six photographs: images of one never lie in two folds.
    assert len(set(store["group"].values)) == 6


def test_voxels_of_volumes_are_where_the_atlas_says(followed):
    labels, betas = (
        nibabel.load(followed / "brain_data" / f"dave_{name}.nii.gz") for name in ("atlas", "betas")
    )
    rows = np.load(followed / "brain_data" / "dave.npy")
    targets = pd.read_csv(followed / "brain_data" / "dave_targets.csv")
    assert rows.shape == (96, len(targets)) == (96, 144)
    backwards = np.linalg.inv(labels.affine)
    places = nibabel.affines.apply_affine(backwards, targets[["x", "y", "z"]].to_numpy())
    voxels = tuple(places.round().astype(int).T)
    np.testing.assert_allclose(rows, betas.get_fdata()[voxels].T, atol=1e-5)
    names = np.array(["", "V1", "V2", "LO"])
    assert list(names[np.asarray(labels.dataobj)[voxels]]) == list(targets["roi"])


def test_the_regions_answer_to_the_network_at_all(followed):
    scores = read_table(
        followed / "results" / "my_study" / "scores" / "mobilenetv2_050_untrained.parquet"
    )
    activation = scores[(scores["signal"] == "activation") & (scores["measure"] == "r")]
    assert activation.groupby("roi")["value"].mean().max() > 0.1


def test_further_examples_of_the_page_are_valid_entries(tmp_path):
    entries = {}
    for _, language, content in BLOCKS.findall(PAGE):
        if language == "yaml":
            entries |= yaml.safe_load(content).get("datasets", {}) if "adapter" in content else {}
    assert set(entries) == {"brain_data", "meg_data", "eeg_data", "volume_data", "zarr_data"}
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"datasets": entries}))
    registries = Registries([ROOT / "config", tmp_path])
    for name in entries:
        entry = registries.dataset(name, where="tutorial")
        assert read_options(entry).responses.startswith("{")


def test_data_sets_are_fetched_by_a_rule_of_their_own_only(after_the_demo, followed):
    assert "fetch_objects92" in after_the_demo.run("snakemake --cores 1 --dry-run fetch_objects92")
    assert "fetch_" not in after_the_demo.run("snakemake --cores 1 --dry-run")
