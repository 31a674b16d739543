"""Results are opened from their folder alone: whole, lazily, in the order of the study."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from trees import invented_study
from trees.invented_study import LAYERS, MODELS, ROIS, TIMES, Invented, Place, write_study

import gradbrain
from gradbrain.config import GradbrainError
from gradbrain.figures.drawing import draw
from gradbrain.store import StoreError, read_tables, write_store, write_table, write_tree
from gradbrain.vocabulary.artefacts import ARTEFACTS

ROOT = Path(__file__).resolve().parents[2]
FMRI, MEG = "simulated_fmri_paper_pattern", "simulated_meg_paper_pattern"
PLACES = {
    FMRI: Place("fmri", "roi", "fsaverage5", "simulated fMRI"),
    MEG: Place("meg", "time", "sensors", "simulated MEG"),
}
IMAGES = np.array([f"image-{number}" for number in range(6)])
RESPONSE = np.arange(6 * len(ROIS), dtype=np.float32).reshape(6, -1)


def write_stores(results: Path, study: str) -> None:
    """Responses of one person, and features of all layers."""
    scores = pd.read_parquet(next((results / study / "scores").glob("*.parquet")))
    subject = min(scores.loc[scores["dataset"] == FMRI, "subject"])
    of_images = {"image_id": ("image", IMAGES), "group": ("image", IMAGES)}
    responses = xr.Dataset(
        {
            "response": (("image", "target"), RESPONSE),
            "noise_ceiling": ("target", np.full(len(ROIS), 0.25, dtype=np.float32)),
            "n_repeats": ("image", np.ones(6, dtype=int)),
        },
        coords={**of_images, "roi": ("target", np.array(ROIS))},
        attrs={"dataset": FMRI, "subject": subject},
    )
    path = ARTEFACTS["responses"].path(study=study, subject=subject)
    write_store(results.parent / path, responses, kind="responses")
    signals = np.array(["activation", "gradient_dino"])
    for model in MODELS:
        for layer in LAYERS:
            about = dict.fromkeys(("signal", "role", "rule", "objective"), ("signal", signals))
            per_image = (("image", "signal"), np.zeros((6, 2), dtype=np.float32))
            root = xr.Dataset(
                {"objective_value": per_image, "magnitude": per_image},
                coords={"image_id": ("image", IMAGES), **about},
            )
            arrays = dict.fromkeys(signals, (("image", "feature"), RESPONSE))
            tree = xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)})
            keys = {"model": model, "layer": layer, "signal_set": "demo", "stimuli": "simulated"}
            write_tree(results.parent / ARTEFACTS["features"].path(**keys), tree, kind="features")


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Folder with results/demo, as a finished study leaves it."""
    home = tmp_path_factory.mktemp("opened")
    folder = home / "results" / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invented_study, "STUDY", "demo")
        write_study(folder, Invented(places=PLACES))
    config = {"study": "demo", "title": "A title", "statistics": {}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    figure = folder / "figures" / "encoding_by_region"
    figure.parent.mkdir()
    figure.with_suffix(".csv").write_text("roi,value\nV1,0.5\n")
    figure.with_suffix(".png").write_bytes(b"\x89PNG")
    write_stores(home / "results", "demo")
    return home


@pytest.fixture
def study(made):
    return gradbrain.open_study(made / "results" / "demo")


def test_tables_of_all_models_are_joined_in_the_order_of_the_study(study):
    assert list(dict.fromkeys(study.scores["model"])) == list(MODELS) == study.models
    assert study.datasets == [FMRI, MEG]
    assert study.layers(study.models[0]) == LAYERS
    assert len(study.subjects[FMRI]) == 6
    parts = [pd.read_parquet(path) for path in study.paths("scores")]
    assert len(study.scores) == sum(map(len, parts))
    assert study.claims["coverage"].map(type).eq(str).all()


def test_nothing_warns_and_values_are_those_that_were_written(study):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (person,) = study.responses
        responses = study.responses[person]
        np.testing.assert_array_equal(responses["response"].values, RESPONSE)
        assert list(responses["roi"].values) == ROIS
        features = study.features.open(model=study.models[1], layer="blocks.3")
        np.testing.assert_array_equal(features["signals/gradient_dino"].values, RESPONSE)
        maps = study.maps[study.models[0]]
        assert set(maps.children) == {FMRI, MEG}
        assert np.isfinite(maps[f"{FMRI}/score"].values).any()
        assert set(study.time_courses["time"]) <= set(TIMES)


def test_nothing_is_read_before_it_is_asked_for(study, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("was read")

    def names_alone(kind, *rest):
        return read_tables(kind, *rest) if kind == "entries" else refuse()

    monkeypatch.setattr("gradbrain.store.study.open_tree", refuse)
    monkeypatch.setattr("gradbrain.store.study.read_tables", names_alone)
    fresh = gradbrain.open_study(study.folder)
    assert len(fresh.stores("maps").index) == 2
    assert fresh.paths("claims") == [study.folder / "claims.csv"]
    with pytest.raises(AssertionError, match="was read"):
        _ = fresh.maps[study.models[0]]


def test_conditions_choose_files_and_rows(study):
    some = study.table("scores", model=study.models[1], signal=["activation", "gradient_dino"])
    assert set(some["model"]) == {study.models[1]}
    assert set(some["signal"]) == {"activation", "gradient_dino"}
    whole = study.scores
    whole["value"] = 0.0
    assert study.scores["value"].abs().max() > 0


def test_a_folder_that_was_copied_and_renamed_opens_alone(made, tmp_path):
    shutil.copytree(made / "results" / "demo", tmp_path / "from_a_friend")
    found = gradbrain.open_study(tmp_path / "from_a_friend")
    assert found.name == "demo"
    assert len(found.scores) == len(gradbrain.open_study(made / "results" / "demo").scores)
    assert len(found.features) == 0
    with pytest.raises(StoreError, match="holds no features"):
        found.features.open()


def test_what_the_study_names_no_more_is_left_out_and_said(made, tmp_path):
    shutil.copytree(made / "results" / "demo", tmp_path / "demo")
    old = tmp_path / "demo" / "scores" / "a_former_model.parquet"
    first = gradbrain.open_study(tmp_path / "demo").paths("scores")[0]
    write_table(old, pd.read_parquet(first).assign(model="a_former_model"), kind="scores")
    person = tmp_path / "demo" / "responses" / "somebody.zarr"
    shutil.copytree(next((tmp_path / "demo" / "responses").glob("*.zarr")), person)
    found = gradbrain.open_study(tmp_path / "demo")
    assert set(found.scores["model"]) == set(MODELS)
    assert "somebody" not in found.responses
    assert set(found.left_out) == {old, person}
    assert "left out   2 files" in repr(found)


def test_a_study_says_what_it_holds(study):
    said = repr(study)
    for words in (
        "<Study 'demo': A title>",
        f"{FMRI} (6 subjects)",
        f"{study.models[0]} (5 layers)",
        "gradient_dino",
        "supported",
        "scores (2)",
        "features (10)",
        "encoding_by_region",
    ):
        assert words in said, said
    assert "5 stores" in repr(study.stores("features", model=study.models[0]))
    assert study.figures["encoding_by_region"].data["value"].tolist() == [0.5]
    assert study.figures["encoding_by_region"]._repr_png_() == b"\x89PNG"


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda study: study.table("scors"), r"no table 'scors'\. Did you mean 'scores'"),
        (lambda study: study.table("scores", signl="a"), "Did you mean 'signal'"),
        (lambda study: study.table("rsa"), r"holds no rsa .* which the rule compute_rsa makes"),
        (lambda study: study.responses["simulated_fmri"], "did you mean"),
        (lambda study: study.features.open(), r"10 stores fit, expected one; name also model: "),
        (lambda study: study.features.open(layr="b"), "Did you mean 'layer'"),
        (lambda study: study.features["a"], "expected model, layer, signal_set, stimuli"),
        (lambda study: study.layers("mobilenetv2"), "there is no model"),
        (lambda study: study.report, "holds no report"),
    ],
)
def test_a_wrong_question_is_answered_with_what_there_is(study, ask, answer):
    with pytest.raises(GradbrainError, match=answer):
        ask(study)
    assert study.responses.get("nobody") is None


def test_another_folder_is_refused_and_studies_nearby_are_named(made, tmp_path):
    near = made / "results" / "demo"
    for wrong in (made / "results", made / "results" / "dmo"):
        with pytest.raises(StoreError, match=re.escape(f"there is {near}")):
            gradbrain.open_study(wrong)
    with pytest.raises(StoreError, match="holds no results of a study"):
        gradbrain.open_study(tmp_path)


def test_keys_that_a_table_has_no_column_for_come_first(made, tmp_path):
    shutil.copytree(made / "results" / "demo", tmp_path / "demo")
    claims = gradbrain.open_study(tmp_path / "demo").claims
    folder = tmp_path / "demo" / "multiverse" / "claims"
    folder.mkdir(parents=True)
    for universe in ("base", "0a1b"):
        write_table(folder / f"{universe}.csv", claims, kind="universe_claims")
    found = gradbrain.open_study(tmp_path / "demo").table("universe_claims")
    assert found.columns[0] == "universe"
    assert set(found["universe"]) == {"base", "0a1b"}


def test_a_figure_of_the_library_is_drawn_anew(study):
    figure, numbers = draw(study, "encoding_by_region")
    assert set(numbers["roi"]) == set(ROIS)
    assert figure.axes


def test_a_figure_is_drawn_from_a_folder_by_the_command_of_its_rule(made, tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "plot_figure.py"), "--figure"]
    command += ["encoding_by_region", "--output-stem", str(tmp_path / "mine")]
    folder = str(made / "results" / "demo")
    subprocess.run([*command, "--results", folder], check=True, capture_output=True)
    study = gradbrain.open_study(folder)
    assert len(pd.read_csv(tmp_path / "mine.csv")) == len(draw(study, "encoding_by_region")[1])
    lacking = subprocess.run(command, capture_output=True, text=True)
    assert lacking.returncode == 1
    assert "both are needed where there is no --results" in lacking.stderr


def test_the_page_that_shows_it_runs_and_draws(made, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "open_study.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) >= 5
    (tmp_path / "results").symlink_to(made / "results")
    program = "import matplotlib; matplotlib.use('Agg')\n" + "\n".join(blocks)
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "workflow"), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "<Study 'demo'" in done.stdout
    for name in ("best_by_region.pdf", "encoding_by_region.pdf"):
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, gradbrain; assert gradbrain.__version__; "
        "print({'pandas', 'xarray', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
