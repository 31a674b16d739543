"""Signal sets that are read from the same passes hold what each would hold on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from extract_features import main

from gradbrain.config import GradbrainError
from gradbrain.config.schema import ModelEntry, Pooling, Projection, SignalSet
from gradbrain.store import open_features, open_tree

LAYERS, DEPTHS = ["layer1.0", "layer4.0"], ["0.25", "1.0"]
ENTRY = ModelEntry(
    name="small", architecture="test_resnet", weights={"source": "random", "seed": 2}, input_size=32
)


class Study:
    """Stimuli, calibration images, and a set of signals that is read in several ways."""

    def __init__(self, folder: Path, tools) -> None:
        self.folder = folder
        self.stimuli = tools["stimuli"](folder, "seen", 7, 0)
        self.calibration = tools["stimuli"](folder, "other", 5, 1)
        self.base: SignalSet = tools["signal_set"](
            tools["backprop"]("dino"), tools["backprop"]("fixed_cotangent", "control")
        )

    def read_as(self, name: str, **changes) -> SignalSet:
        return self.base.model_copy(update={"name": name, **changes})

    def output(self, signal_set: SignalSet, layer: str, run: str) -> Path:
        return self.folder / run / layer / signal_set.name / "seen.zarr"

    def extract(self, *sets: SignalSet, run: str) -> None:
        main(
            [
                *("--model", ENTRY.model_dump_json(), "--layers", *LAYERS, "--depths", *DEPTHS),
                *("--signal-set", sets[0].model_dump_json()),
                *("--further-sets", *(found.model_dump_json() for found in sets[1:])),
                *("--stimuli", str(self.stimuli), "--stimuli-name", "seen"),
                *("--calibration", str(self.calibration), "--data", str(self.folder)),
                "--output",
                *(str(self.output(found, layer, run)) for found in sets for layer in LAYERS),
                *("--batch-size", "3", "--device", "cpu"),
            ]
        )


@pytest.fixture
def study(tmp_path, tools) -> Study:
    return Study(tmp_path, tools)


@pytest.fixture
def sets(study) -> list[SignalSet]:
    return [
        study.read_as("grid", pooling=Pooling(kind="grid", size=2)),
        study.read_as("magnitude", normalise="none"),
        study.read_as("both", normalise="unit_and_magnitude"),
        study.read_as("few", projection=Projection(n_components=3)),
    ]


def test_a_set_read_beside_others_is_the_set_read_alone(study, sets):
    study.extract(*sets, run="together")
    for place, signal_set in enumerate(sets):
        study.extract(signal_set, run=f"alone{place}")
        for layer in LAYERS:
            together, alone = (
                study.output(signal_set, layer, run) for run in ("together", f"alone{place}")
            )
            # The digest is of all arrays and attributes.
            digests = {
                open_tree(path, kind="features", verify=True).attrs["digest"]
                for path in (together, alone)
            }
            assert len(digests) == 1
    store = open_tree(study.output(sets[1], "layer1.0", "together"), kind="features", verify=True)
    lengths = np.linalg.norm(store["signals"]["gradient_dino"].values, axis=1)
    np.testing.assert_allclose(lengths, store["magnitude"].values[:, 1], rtol=1e-5)


def test_what_is_there_already_is_kept_and_the_rest_is_made(study, sets, caplog):
    study.extract(sets[0], run="features")
    before = study.output(sets[0], "layer1.0", "features").stat().st_mtime_ns
    study.extract(*sets, run="features")
    assert study.output(sets[0], "layer1.0", "features").stat().st_mtime_ns == before
    for signal_set in sets:
        for layer in LAYERS:
            open_tree(study.output(signal_set, layer, "features"), kind="features", verify=True)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"calibration": "elsewhere"}, {"signals": 1}])
def test_a_set_that_needs_other_passes_is_refused(study, changes):
    if "signals" in changes:
        changes = {"signals": study.base.signals[:2]}
    (key,) = changes
    other = study.read_as("other", **changes)
    with pytest.raises(GradbrainError, match=f"'other' cannot be read from.*its {key} differs"):
        study.extract(study.read_as("one"), other, run="features")


def test_as_many_outputs_as_sets_times_layers_are_asked_for(study, sets):
    with pytest.raises(GradbrainError, match="as many outputs again for each of --further-sets"):
        main(
            [
                *("--model", ENTRY.model_dump_json(), "--layers", *LAYERS, "--depths", *DEPTHS),
                *("--signal-set", sets[0].model_dump_json()),
                *("--further-sets", sets[1].model_dump_json()),
                *("--stimuli", str(study.stimuli), "--stimuli-name", "seen"),
                *("--calibration", str(study.calibration), "--output", "a.zarr", "b.zarr"),
            ]
        )


def test_a_log_magnitude_leaves_direction_and_activation_as_they_are(study):
    unit, both = (study.read_as(name, normalise=name) for name in ("unit", "unit_and_magnitude"))
    study.extract(unit, both, run="features")
    for layer in LAYERS:
        stores = [open_features(study.output(found, layer, "features")) for found in (unit, both)]
        for signal in stores[0].signals:
            plain, joined = (store.values(signal) for store in stores)
            np.testing.assert_array_equal(joined[:, : plain.shape[1]], plain)
            added = joined[:, plain.shape[1] :]
            if signal.role == "activation":
                assert added.shape[1] == 0
            else:
                logs = np.log(stores[1].magnitude(signal))
                # A fixed cotangent behind the last nonlinearity is the same for all images.
                if signal.name == "gradient_dino" or logs.std() > 1e-4:
                    np.testing.assert_allclose(np.corrcoef(added[:, 0], logs)[0, 1], 1.0, rtol=1e-5)
                else:
                    assert not added.any()
