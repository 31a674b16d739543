"""Checking a whole folder of results: what is named, and the command that rebuilds it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gradbrain.datasets.stimuli import Stimulus, stimuli_table
from gradbrain.plan.verification import commands, verify
from gradbrain.store import stimuli_digests, write_store, write_table, write_text, write_tree
from gradbrain.store.atomic import drafting
from gradbrain.store.errors import snakemake_command
from gradbrain.store.file_digests import digest_path
from gradbrain.vocabulary.artefacts import ARTEFACTS, columns_of

ROOT = Path(__file__).resolve().parents[2]
IDS = [f"i{k}" for k in range(6)]


def place(folder, kind, **keys):
    path = folder / ARTEFACTS[kind].path(**keys)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def stimuli(last="f"):
    return stimuli_table(
        [
            Stimulus(
                image_id=name, group=name, loader="file", locator={"path": "x"},
                content_sha256=last if name == "i5" else name,
            )
            for name in IDS
        ],
        name="s",
    )  # fmt: skip


def write_features(folder, layer="conv", seed=0, digest=None):
    per_image = (("image", "signal"), np.zeros((6, 1), np.float32))
    labels = ("signal", "role", "rule", "objective")
    root = xr.Dataset(
        {"objective_value": per_image, "magnitude": per_image},
        coords={"image_id": ("image", IDS), **{name: ("signal", ["a"]) for name in labels}},
        attrs={
            "model": "m", "layer": layer, "signal_set": "set", "stimuli": "pictures",
            "stimuli_digest": digest or stimuli_digests(stimuli())["table"],
        },
    )  # fmt: skip
    values = np.random.default_rng(seed).standard_normal((6, 3)).astype("float32")
    arrays = {"a": (("image", "feature"), values)}
    tree = xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)})
    keys = {"model": "m", "layer": layer, "signal_set": "set", "stimuli": "pictures"}
    return write_tree(place(folder, "features", **keys), tree, kind="features")


def write_responses(folder, subject="s1", seed=0):
    values = np.random.default_rng(seed).standard_normal((6, 4)).astype("float32")
    brain = xr.Dataset(
        {"response": (("image", "target"), values)},
        coords={
            "image_id": ("image", IDS), "group": ("image", IDS),
            "n_repeats": ("image", np.full(6, 3)),
        },
        attrs={"subject": subject},
    )  # fmt: skip
    return write_store(
        place(folder, "responses", study="demo", subject=subject),
        brain,
        kind="responses",
        made_from={"stimuli_digests": stimuli_digests(stimuli())},
    )


def write_baseline(folder, features, responses):
    store = xr.Dataset(
        {
            "component": (("split", "image", "component"), np.ones((2, 6, 3), "float32")),
            "n_constant": ("split", [0, 0]),
        },
        coords={"image_id": ("image", IDS)},
        attrs={
            "model": "m", "signal_set": "set", "stimuli": "pictures",
            "features_digests": {"conv": features}, "responses_digest": responses,
        },
    )  # fmt: skip
    path = place(folder, "baseline", study="demo", model="m", subject="s1")
    write_store(path, store, kind="baseline")


@pytest.fixture
def folder(tmp_path):
    """Results of a small study, whole."""
    write_table(place(tmp_path, "stimuli", stimuli="pictures"), stimuli(), kind="stimuli")
    write_baseline(tmp_path, write_features(tmp_path), write_responses(tmp_path))
    for model in "mn":
        rows = {name: [""] for name in columns_of("rsa")}
        rows |= {"study": ["demo"], "model": [model], "subject": ["s1"]}
        path = place(tmp_path, "rsa", study="demo", model=model, subject="s1")
        write_table(path, pd.DataFrame(rows), kind="rsa", provenance={"a": 1})
    write_text(place(tmp_path, "claims_page", study="demo"), "# Claims\n", digested=True)
    return tmp_path


def faults(folder, **options):
    found = verify(folder / "results", **options)
    return {fault.path.relative_to(folder).as_posix(): fault.what for fault in found.faults}


def test_draws_of_universes_and_of_second_opinions_are_what_they_should_be(folder):
    rows = {name: [""] for name in columns_of("hierarchy")}
    rows |= {"study": ["demo"], "model": ["m"], "dataset": ["d"]}
    group = xr.Dataset(
        {name: (("row", "draw"), np.zeros((1, 3))) for name in ("boot", "null")},
        coords={"row": ("row", [0])},
    )
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"model": "m"}), "/d": group})
    keys = {"study": "demo", "model": "m", "dataset": "d", "fit": "0a1b2c3d"}
    for kind in ("rdm_hierarchy", "universe_hierarchy"):
        names = [name for name in keys if f"{{{name}}}" in ARTEFACTS[kind].template]
        own = {name: keys[name] for name in names}
        digest = write_tree(place(folder, f"{kind}_draws", **own), tree, kind="hierarchy_draws")
        facts = {"draws_digest": digest}
        write_table(place(folder, kind, **own), pd.DataFrame(rows), kind=kind, facts=facts)
    assert faults(folder) == {}


@pytest.mark.parametrize("content", [False, True])
def test_results_that_are_whole_have_no_fault(folder, content):
    found = verify(folder / "results", content=content)
    assert not found.faults and not found.undigested and not found.left_over and not found.foreign
    assert found.n_checked == 7


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


RESPONSES = "results/demo/responses/s1.zarr"
BASELINE = "results/demo/baselines/m/s1.zarr"
FEATURES = "results/features/m/conv/set/pictures.zarr"
RSA = "results/demo/rsa/m/s1.parquet"
PAGE = "results/demo/claims.md"


def other_model(folder):
    other = folder / "results/demo/rsa/n/s1.parquet"
    shutil.copyfile(other, folder / RSA)
    shutil.copyfile(digest_path(other), digest_path(folder / RSA))


@pytest.mark.parametrize(
    ("damage", "at", "told"),
    [
        (lambda f: flip(f / RESPONSES / "response/c/0/0"), RESPONSES, "response/c/0/0 was changed"),
        (lambda f: (f / RESPONSES / "group/c/0").unlink(), RESPONSES, "group/c/0 is missing"),
        (lambda f: (f / RESPONSES / "x").write_text(""), RESPONSES, "which its mark does not list"),
        (lambda f: shutil.rmtree(f / RESPONSES / "response"), RESPONSES, "is missing"),
        (lambda f: flip(f / RSA), RSA, "was changed or damaged"),
        (other_model, RSA, "holds rows of model 'n', expected 'm'"),
        (lambda f: flip(f / PAGE), PAGE, "was changed or damaged"),
        (lambda f: write_responses(f, seed=1), BASELINE, f"was made from another {RESPONSES}"),
        (lambda f: write_features(f, seed=1), BASELINE, f"was made from another {FEATURES}"),
        (
            lambda f: write_table(
                place(f, "stimuli", stimuli="pictures"), stimuli("g"), kind="stimuli"
            ),
            FEATURES,
            "features are of other pictures",
        ),
    ],
)  # fmt: skip
def test_what_is_damaged_or_does_not_fit_is_named(folder, damage, at, told):
    damage(folder)
    found = faults(folder)
    assert list(found) == [at]
    assert told in found[at]


def test_a_store_whose_table_is_gone_is_named(folder):
    keys = {"study": "demo", "model": "m"}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=keys)})
    write_tree(place(folder, "hierarchy_draws", **keys), tree, kind="hierarchy_draws")
    found = faults(folder)
    assert found == {
        "results/demo/hierarchy/m.zarr": "m.parquet beside it, of the same job, is gone"
    }


def test_results_of_before_and_what_killed_writers_left_are_notes_and_no_faults(folder):
    root = folder / RESPONSES / "zarr.json"
    content = json.loads(root.read_text())
    del content["attributes"]["gradbrain"]["seal"]
    root.write_text(json.dumps(content))
    (folder / "results/demo/rsa/n/.s1.parquet.sha256").unlink()
    (folder / "results/demo/rsa/n/.s1.parquet.gradbrain-lock").touch()
    (folder / "results/demo/rsa/n/.s2.zarr.gradbrain-partial-01234567").mkdir()
    (folder / "results/demo/notes.txt").touch()
    found = verify(folder / "results")
    assert not found.faults
    assert len(found.undigested) == 2 and len(found.left_over) == 2
    assert [path.name for path in found.foreign] == ["notes.txt"]


def test_what_is_being_written_is_no_leftover(folder):
    with drafting(folder / "results/demo/rsa/n/s9.zarr") as draft:
        draft.mkdir()
        assert not verify(folder / "results").left_over
    draft.mkdir()
    assert verify(folder / "results").left_over == [draft]


def test_the_command_rebuilds_everything_of_a_study_at_once(folder):
    for name in (RESPONSES, RSA, BASELINE):
        shutil.rmtree(folder / name) if name.endswith("zarr") else flip(folder / name)
        if name.endswith("zarr"):
            (folder / name).mkdir()
    found = verify(folder / "results")
    assert len(found.faults) == 3
    (command,) = commands(found.faults, [ROOT / "config" / "config.yaml"], ROOT)
    paths = [str(fault.path) for fault in found.faults]
    made = [fault.place.target for fault in found.faults]
    config = str(ROOT / "config" / "config.yaml")
    assert command == f"rm -r {' '.join(paths)} && {snakemake_command(None, *made, config=config)}"
    assert set(made) == {RESPONSES, RSA, BASELINE}


def test_shared_results_are_rebuilt_by_a_study_that_needs_them(folder):
    flip(folder / "results/stimuli/pictures.parquet")
    (folder / "results/stimuli/pictures.parquet").rename(
        folder / "results/stimuli/objects92.parquet"
    )
    found = verify(folder / "results/stimuli")
    configs = [ROOT / "config" / f"{name}.yaml" for name in ("config", "paper", "objects92")]
    (command,) = commands(found.faults, configs, ROOT)
    assert "objects92.yaml -- results/stimuli/objects92.parquet" in command


def test_the_script_prints_faults_and_the_command_and_ends_with_1(folder):
    flip(folder / RSA)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "verify_results.py"), "results",
         "--configfile", str(ROOT / "config" / "config.yaml")],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{RSA}\n    was changed or damaged" in done.stdout
    assert f"rm -r {RSA} && snakemake --cores all" in done.stdout
    assert "6 results" in done.stdout and "1 faults" in done.stdout
