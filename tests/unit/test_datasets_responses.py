"""Claims about assembled responses: what is masked, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from trees.modalities import MODALITIES

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.responses import (
    check_responses,
    describe,
    sensor_responses,
    target_responses,
)

ENTRY = DatasetEntry(
    name="mine",
    adapter="simulated",
    modality=MODALITIES["fmri"],
    subjects=("mine-s01",),
    licence="free",
)
MEG_ENTRY = ENTRY.model_copy(update={"modality": MODALITIES["meg"]})
STIMULI = pd.DataFrame({"image_id": list("abcd"), "group": list("xxyy")})
ATTRS = describe(ENTRY, "mine-s01", units="%", space="fsaverage5", preprocessing="none")


def fmri(response, **attrs):
    targets = pd.DataFrame(
        {
            "roi": ["V1", "V1", "IT"],
            "hemisphere": "left",
            "x": [0.0, 1, 2],
            "y": 0.0,
            "z": 0.0,
            "vertex": [5, 6, 7],
        }
    )
    return target_responses(
        response,
        targets,
        stimuli=STIMULI,
        n_repeats=2,
        noise_ceiling=np.array([0.1, 0.2, 0.3]),
        attrs={**ATTRS, **attrs},
    )


def meg(response):
    sensors = pd.DataFrame({"sensor": ["A", "B"], "sensor_x": [0.0, 1], "sensor_y": [0.0, 1]})
    return sensor_responses(
        response,
        sensors,
        time=np.array([0.0, 0.1, 0.2]),
        stimuli=STIMULI,
        n_repeats=np.array([1, 2, 3, 4]),
        noise_ceiling=np.zeros((3, 2)),
        attrs=describe(MEG_ENTRY, "mine-s01", space="sensors", preprocessing="none"),
    )


def test_constant_and_missing_targets_are_left_out_and_counted():
    response = np.random.default_rng(0).standard_normal((4, 3))
    response[2, 0] = np.nan
    response[:, 1] = 3.0
    dataset = fmri(response)
    assert dataset.attrs["n_masked_targets"] == 2
    assert list(dataset["vertex"].values) == [7]
    assert dataset["noise_ceiling"].values == pytest.approx([0.3])
    check_responses(dataset, STIMULI)


def test_a_sensor_that_is_dead_at_one_time_is_left_out():
    response = np.random.default_rng(0).standard_normal((4, 3, 2))
    response[:, 1, 0] = 0.0
    dataset = meg(response)
    assert list(dataset["sensor"].values) == ["B"]
    assert dataset.attrs["n_masked_targets"] == 1
    assert list(dataset["n_repeats"].values) == [1, 2, 3, 4]


def test_values_survive_as_float32():
    response = np.random.default_rng(0).standard_normal((4, 3))
    dataset = fmri(response)
    assert dataset["response"].dtype == np.float32
    np.testing.assert_array_equal(dataset["response"].values, response.astype(np.float32))
    assert list(dataset["group"].values) == list("xxyy")
    assert dataset.attrs["licence"] == "free"


def test_responses_without_targets_are_refused():
    with pytest.raises(DatasetError, match="no target is left, 3 were constant"):
        check_responses(fmri(np.zeros((4, 3))), STIMULI)


def test_rows_that_are_not_the_stimuli_are_refused():
    dataset = fmri(np.random.default_rng(0).standard_normal((4, 3)))
    with pytest.raises(DatasetError, match="4 rows do not match the 4 images"):
        check_responses(dataset, STIMULI.iloc[::-1])


def test_regions_without_targets_and_lacking_attributes_are_refused():
    response = np.random.default_rng(0).standard_normal((4, 3))
    with pytest.raises(DatasetError, match=r"no target lies in the region\(s\) V9"):
        check_responses(fmri(response, roi_order=["V1", "V9"]), STIMULI)
    dataset = fmri(response)
    del dataset.attrs["space"]
    with pytest.raises(DatasetError, match=r"lack the attribute\(s\) space"):
        check_responses(dataset, STIMULI)


def test_responses_say_their_modality_its_axis_and_what_a_place_is_called():
    about = ("modality", "axis", "sensors", "units")
    assert [ATTRS[name] for name in about] == ["fmri", "roi", "voxels", "%"]
    own = describe(MEG_ENTRY, "mine-s01", space="sensors", preprocessing="none")
    # Where the adapter says no unit, the modality does.
    assert [own[name] for name in about] == ["meg", "time", "sensors", "T"]
    bold = describe(ENTRY, "mine-s01", space="fsaverage5", preprocessing="none")
    assert bold["units"] == "arbitrary units"
    images = ENTRY.model_copy(update={"modality": None})
    with pytest.raises(DatasetError, match="data set 'mine': modality is 'none': it holds images"):
        describe(images, "mine-s01", space="none", preprocessing="none")


def test_responses_along_another_axis_than_their_modality_are_refused():
    response = np.random.default_rng(0).standard_normal((4, 3, 2))
    dataset = meg(response)
    check_responses(dataset, STIMULI)
    dataset.attrs |= {"modality": "fmri", "axis": "roi"}
    with pytest.raises(
        DatasetError,
        match=r"laid out by \(time, sensor\), but the modality 'fmri' has the axis 'roi', which is "
        r"'roi': \(target\) or 'time': \(time, sensor\)",
    ):
        check_responses(dataset, STIMULI)


@pytest.mark.parametrize("name", ["image_id", "group", "n_repeats", "noise_ceiling", "sensor"])
def test_responses_that_lack_a_variable_are_refused(name):
    dataset = meg(np.random.default_rng(0).standard_normal((4, 3, 2)))
    with pytest.raises(DatasetError, match=rf"'mine-s01': lack the variable(\(s\))? {name}"):
        check_responses(dataset.drop_vars(name), STIMULI)
