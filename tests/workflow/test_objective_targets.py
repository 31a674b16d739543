"""A study by layer whose objective looks at views: one job passes them, for all layers."""

from __future__ import annotations

import json
import shutil

import pytest

from gradbrain.store import open_store

N_IMAGES, N_LAYERS = 48, 2
TARGETS = "results/objective_targets/tiny_a/tiny/tiny.zarr"
FEATURES = [f"results/features/tiny_a/{layer}/tiny/tiny.zarr" for layer in ("blocks.1", "blocks.5")]
# Read by every Python of the run; writes how many images each job passed through a network.
COUNTER = """
import atexit, json, os, sys
from pathlib import Path
script = next((word for word in sys.orig_argv if word.startswith("scripts/")), "")
if script.endswith(("extract_features.py", "compute_objective_targets.py")):
    sys.path.insert(0, "workflow")
    from gradbrain.models.build import VisionModel
    passed = []
    def counting(method):
        def counted(model, raw, *arguments):
            passed.append(len(raw))
            return method(model, raw, *arguments)
        return counted
    for way in ("outputs", "features_alone"):
        setattr(VisionModel, way, counting(getattr(VisionModel, way)))
    name = f"{Path(script).stem}-{os.getpid()}.json"
    atexit.register(lambda: Path(__file__).with_name(name).write_text(json.dumps(sum(passed))))
"""


@pytest.fixture(scope="module")
def by_layer(fresh_checkout):
    """Features of a model over a stimulus set; what ran, and images that each job passed."""
    checkout = fresh_checkout("by_layer")
    folder = checkout.folder / "counter"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(COUNTER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        jobs = checkout.run("--", *FEATURES)
    passed: dict[str, list[int]] = {}
    for file in folder.glob("*.json"):
        passed.setdefault(file.stem.partition("-")[0], []).append(json.loads(file.read_text()))
    return checkout, jobs, passed


def test_views_are_passed_by_one_job_and_by_no_layer(by_layer):
    _, jobs, passed = by_layer
    expected = {"prepare_stimuli": 2, "compute_objective_targets": 1, "extract_features": N_LAYERS}
    assert jobs == expected
    # 32 views of each image, of calibration images, and of four images that show the rounding.
    (views,) = passed["compute_objective_targets"]
    assert views > 32 * N_IMAGES
    # The images, these four again, and one that tells shapes.
    assert passed["extract_features"] == [N_IMAGES + 4 + 1] * N_LAYERS


def test_a_second_run_has_nothing_to_do_and_a_lost_layer_passes_no_view(by_layer):
    checkout = by_layer[0]
    assert checkout.planned("--", *FEATURES) == {}
    shutil.rmtree(checkout.folder / FEATURES[0])
    before = open_store(checkout.folder / TARGETS, kind="objective_targets").attrs["digest"]
    assert checkout.run("--", *FEATURES) == {"extract_features": 1}
    after = open_store(checkout.folder / TARGETS, kind="objective_targets").attrs["digest"]
    assert before == after
    # A further layer is handed the views that were passed for the others.
    further = FEATURES[0].replace("blocks.1", "blocks.3")
    assert checkout.planned("--", further) == {"extract_features": 1}
    # Once the features are there nothing misses the targets.
    (checkout.folder / TARGETS).rename(checkout.folder / "aside")
    assert checkout.planned("--", *FEATURES) == {}
    (checkout.folder / "aside").rename(checkout.folder / TARGETS)


@pytest.mark.parametrize(
    ("module", "jobs"),
    [
        ("objectives/dino.py", {"compute_objective_targets": 1, "extract_features": N_LAYERS}),
        ("objectives/views.py", {"compute_objective_targets": 1, "extract_features": N_LAYERS}),
        # Looks at no view.
        ("objectives/feature_norm.py", {"extract_features": N_LAYERS}),
        ("signals/pooling.py", {"extract_features": N_LAYERS}),
        # Not an objective of the set.
        ("objectives/entropy.py", {}),
    ],
)
def test_a_changed_module_reruns_what_follows_from_it(by_layer, module, jobs):
    checkout = by_layer[0]
    file = checkout.folder / "workflow/gradbrain" / module
    text = file.read_text()
    file.write_text(f"{text}\nCHANGED = True\n")
    try:
        assert checkout.planned("--", *FEATURES) == jobs
    finally:
        file.write_text(text)


def test_by_model_or_without_views_there_is_no_such_job(by_layer):
    checkout = by_layer[0]
    study = "tests/workflow/tiny/study.yaml"
    text = (checkout.folder / study).read_text()
    other = text.replace("study: tiny", "study: by_model").replace("unit: layer", "unit: model")
    (checkout.folder / "by_model.yaml").write_text(other)
    _, jobs = checkout.dry_run("by_model.yaml", "--forceall")
    assert "compute_objective_targets" not in jobs
    planted = "results/features/planting_mobilenetv2_050/blocks.1/tiny_planted/tiny.zarr"
    assert set(checkout.planned("--", planted)) == {"extract_features"}
