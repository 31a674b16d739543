"""Whose a result is: refused by name where it lies at the place of another."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gradbrain.config.schema import ModelEntry
from gradbrain.datasets.stimuli import Stimulus, stimuli_table
from gradbrain.signals.image_stream import StimulusImages
from gradbrain.signals.statistics_job import _digest as digest_of_statistics
from gradbrain.store import (
    StoreError,
    open_features,
    open_store,
    read_table,
    stimuli_digests,
    write_store,
    write_table,
    write_tree,
)
from gradbrain.store.errors import rebuild_command
from gradbrain.store.identity import artefact_at
from gradbrain.vocabulary.artefacts import ARTEFACTS, columns_of


def responses(subject, seed=0):
    values = np.random.default_rng(seed).standard_normal((6, 4)).astype("float32")
    return xr.Dataset(
        {"response": (("image", "target"), values)},
        coords={
            "image_id": ("image", [f"i{k}" for k in range(6)]),
            "group": ("image", [f"g{k}" for k in range(6)]),
            "n_repeats": ("image", np.full(6, 3)),
        },
        attrs={"subject": subject, "dataset": "d"},
    )


def swapped(folder, kind, first, second, **keys):
    """Two results of one kind; the second now lies in the place of the first, digest and all."""
    paths = [folder / ARTEFACTS[kind].path(**{**keys, **own}) for own in (first, second)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    return paths


def test_responses_of_another_subject_are_refused_by_name(tmp_path):
    first, second = swapped(
        tmp_path, "responses", {"subject": "s1"}, {"subject": "s2"}, study="demo"
    )
    write_store(first, responses("s1"), kind="responses")
    write_store(second, responses("s2", 1), kind="responses")
    assert open_store(first, kind="responses").attrs["subject"] == "s1"
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with pytest.raises(StoreError, match="holds responses of subject 's2', expected 's1'") as error:
        open_store(first, kind="responses")
    assert str(first) in str(error.value)
    assert "snakemake --cores all" in str(error.value)
    assert "results/demo/responses/s1.zarr" in str(error.value)


@pytest.mark.parametrize("kind", ["rsa", "fit_scores", "scores", "hierarchy", "reliability"])
@pytest.mark.parametrize("key", ["model", "subject", "layer", "study", "stimuli"])
def test_tables_of_others_are_refused_by_name(tmp_path, kind, key):
    if key not in ARTEFACTS[kind].keys or key not in columns_of(kind):
        assert (kind, key) in {
            ("rsa", "layer"), ("rsa", "stimuli"), ("fit_scores", "stimuli"), ("scores", "subject"),
            ("scores", "layer"), ("scores", "stimuli"), ("hierarchy", "subject"),
            ("hierarchy", "layer"), ("hierarchy", "stimuli"), ("reliability", "subject"),
            ("reliability", "layer"),
        }  # fmt: skip
        return
    own = {name: f"{name}-a" for name in ARTEFACTS[kind].keys}
    other = {**own, key: f"{key}-b"}
    first, second = swapped(tmp_path, kind, own, other)
    for path, keys in ((first, own), (second, other)):
        rows = pd.DataFrame({name: [keys.get(name, "")] * 2 for name in columns_of(kind)})
        write_table(path, rows, kind=kind)
    assert len(read_table(first, kind=kind)) == 2
    for name in (first.name, f".{first.name}.sha256"):
        source = second.with_name(name.replace(first.name, second.name))
        text = source.read_bytes().replace(second.name.encode(), first.name.encode())
        first.with_name(name).write_bytes(source.read_bytes() if name == first.name else text)
    with pytest.raises(StoreError, match=f"holds rows of {key} '{key}-b', expected '{key}-a'"):
        read_table(first, kind=kind)


def stimuli(contents, label=1, caption=None):
    images = [
        Stimulus(
            image_id=f"i{k}",
            group=f"g{k}",
            loader="file",
            locator={"path": "x"},
            content_sha256=content,
            label=label if k else None,
            caption=caption,
        )
        for k, content in enumerate(contents)
    ]
    return stimuli_table(images, name="s")


def features(digest):
    per_image = (("image", "signal"), np.zeros((6, 1), np.float32))
    root = xr.Dataset(
        {"objective_value": per_image, "magnitude": per_image},
        coords={
            "image_id": ("image", [f"i{k}" for k in range(6)]),
            **{
                name: ("signal", ["activation"]) for name in ("signal", "role", "rule", "objective")
            },
        },
        attrs={"layer": "conv", "stimuli_digest": digest},
    )
    arrays = {"activation": (("image", "feature"), np.ones((6, 2), np.float32))}
    return xr.DataTree.from_dict({"/": root, "/signals": xr.Dataset(arrays)})


@pytest.mark.parametrize("caption", [None, "a dog"])
def test_digests_of_stimuli_are_those_that_features_hold(caption):
    table = stimuli("abcdef", caption=caption)
    entry = ModelEntry.model_construct(name="m")
    found = stimuli_digests(table)
    assert found["table"] == StimulusImages(table, entry, "t").digest
    assert found["pictures"] == digest_of_statistics(table)
    assert found != stimuli_digests(stimuli("abcdeg", caption=caption))
    assert found["table"] != stimuli_digests(stimuli("abcdef", label=2, caption=caption))["table"]


@pytest.mark.parametrize("which", ["table", "pictures"])
def test_features_of_other_pictures_with_the_same_ids_are_refused(tmp_path, which):
    ids = np.array([f"i{k}" for k in range(6)])
    own, other = stimuli_digests(stimuli("abcdef")), stimuli_digests(stimuli("abcdeg"))
    for name, digests in (("f", own), ("o", other)):
        write_tree(tmp_path / f"{name}.zarr", features(digests[which]), kind="features")
    brain = tmp_path / "s1.zarr"
    write_store(brain, responses("s1"), kind="responses", made_from={"stimuli_digests": own})
    aligned = open_features(tmp_path / "f.zarr").of_images(ids[::-1], brain)
    assert aligned.image_ids.tolist() == ids[::-1].tolist()
    with pytest.raises(StoreError, match="features are of other pictures, labels or captions"):
        open_features(tmp_path / "o.zarr").of_images(ids, brain)
    # The digest of responses is that of what was measured, whatever they were made from.
    assert (
        write_store(tmp_path / "s2.zarr", responses("s1"), kind="responses")
        == open_store(brain, kind="responses").attrs["digest"]
    )


@pytest.mark.parametrize("declared", ARTEFACTS.values(), ids=lambda item: item.kind)
def test_every_path_tells_its_kind_and_keys(declared):
    keys = {key: "pdf" if key == "ending" else f"{key}-1.x_2" for key in declared.keys}
    place = artefact_at(Path("/somewhere/results/old") / declared.path(**keys))
    assert (place.kind, dict(place.keys)) == (declared.kind, keys)
    assert place.target == declared.path(**keys)


def test_the_command_that_rebuilds_a_result_names_the_config_of_its_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("study: demo\n")
    (tmp_path / "config" / "mine.yaml").write_text(
        "# x\nstudy: 'mine'\ndatasets:\n  - study: demo\n"
    )
    path = Path("results/mine/rsa/m/s1.parquet")
    command = f"snakemake --cores all --configfile config/mine.yaml -- {path}"
    assert rebuild_command(path) == command
    path.parent.mkdir(parents=True)
    path.touch()
    assert rebuild_command(path) == f"rm -r {path} && {command}"
    demo = Path("results/demo/claims.csv")
    assert rebuild_command(demo) == f"snakemake --cores all -- {demo}"
    shared = Path("results/features/m/l/s/images.zarr")
    assert rebuild_command(shared) == f"snakemake --cores all --configfile STUDY.yaml -- {shared}"
    assert rebuild_command(Path("elsewhere/a.zarr")) is None
