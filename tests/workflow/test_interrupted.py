"""Fused extraction that fails or is killed under a real Snakemake: finished layers survive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradbrain.store import open_store

LAYERS = ("blocks.1", "blocks.5")
RULE = "extract_features_tiny_a_tiny"
# Read by every Python of the run; disturbs one extraction when its second layer is finished.
SABOTAGE = """
import os, signal, sys
from pathlib import Path
armed = Path(__file__).with_name("armed")
if armed.exists() and any(word.endswith("extract_features.py") for word in sys.orig_argv):
    sys.path.insert(0, "workflow")
    from gradbrain.store import zarr_store
    finish, calls = zarr_store.StreamingStore.finish, []
    def disturbed(store, *arguments, **keywords):
        calls.append(store)
        if len(calls) == 2:
            how = armed.read_text()
            armed.unlink()
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError("no space left on device")
        return finish(store, *arguments, **keywords)
    zarr_store.StreamingStore.finish = disturbed
"""


def store_of(checkout, layer: str) -> Path:
    return checkout.folder / "results" / "features" / "tiny_a" / layer / "tiny" / "tiny.zarr"


@pytest.mark.parametrize("how", ["failed", "killed"])
def test_finished_layers_survive_a_fused_job_that_does_not_end_well(how, checkout, monkeypatch):
    checkout.edit("tests/workflow/tiny/study.yaml", "unit: layer", "unit: model")
    folder = checkout.folder / "sabotage"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    (folder / "armed").write_text(how)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    target = ["--", str(store_of(checkout, LAYERS[0]).relative_to(checkout.folder))]
    study = ("--configfile", "tests/workflow/tiny/study.yaml", "--nocolor")

    disturbed = checkout.snakemake(*study, *target, check=False)
    assert disturbed.returncode != 0, disturbed.stdout
    assert not (folder / "armed").exists()
    # Snakemake removed what it could, and the second layer was not done.
    assert not any(store_of(checkout, layer).exists() for layer in LAYERS)
    first, second = (store_of(checkout, layer) for layer in LAYERS)
    waiting = first.with_name(".tiny.zarr.finished")
    digest = open_store(waiting, kind="features", verify=True).attrs["digest"]
    assert not second.with_name(".tiny.zarr.finished").exists()

    assert checkout.run(*target) == {RULE: 1}
    log = (checkout.folder / "logs/features/tiny_a/tiny/tiny.log").read_text()
    assert "blocks.1/tiny/tiny.zarr: finished by an interrupted job, taken over" in log
    assert "5 signals of 1 layers for 48 images" in log
    assert open_store(first, kind="features", verify=True).attrs["digest"] == digest
    open_store(second, kind="features", verify=True)
    provenance = json.loads(first.with_name("tiny.zarr.provenance.json").read_text())
    assert provenance["digest"] == digest
    assert not any(first.parent.glob(".tiny.zarr*"))
