"""Claims about the real data set of 92 objects: fMRI of 15 people.

The files are for research use and not part of this repository. They are read from
``../shared/data/objects92``, or from the folder ``objects92`` below the one that the environment
variable ``GRADBRAIN_REAL_DATA`` names.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from gradbrain.config.registries import Registries
from gradbrain.datasets import dissimilarity
from gradbrain.datasets.registry import read_options
from gradbrain.datasets.responses import check_responses

ROOT = Path(__file__).resolve().parents[2]
ENTRY = Registries([ROOT / "config"]).dataset("objects92", where="test")
OPTIONS = read_options(ENTRY)


@pytest.fixture(scope="module")
def data():
    roots = os.environ.get("GRADBRAIN_REAL_DATA", str(ROOT.parent / "shared" / "data"))
    folder = Path(roots) / "objects92"
    if not folder.is_dir():
        # The files may not be passed on, so that most machines lack them; a folder that was named
        # must hold them.
        assert "GRADBRAIN_REAL_DATA" not in os.environ, f"GRADBRAIN_REAL_DATA: no {folder}"
        pytest.skip(
            f"REAL DATA TESTS DID NOT RUN: there is no folder {folder}; set GRADBRAIN_REAL_DATA "
            "to the folder that holds objects92"
        )
    return folder


@pytest.fixture(scope="module")
def stimuli(data):
    return dissimilarity.Adapter().stimuli(ENTRY, OPTIONS, "objects92", data)


def test_the_files_are_those_that_are_pinned(data):
    for relative, file in ENTRY.fetch.files.items():
        assert hashlib.sha256((data / relative).read_bytes()).hexdigest() == file.sha256
    assert dissimilarity.Adapter().check(ENTRY, OPTIONS, data) == []


def test_there_are_92_images_in_the_order_of_the_rows(stimuli):
    assert list(stimuli["image_id"]) == [f"image_{number:02d}" for number in range(1, 93)]
    assert stimuli["content_sha256"].is_unique


@pytest.mark.parametrize("subject", ENTRY.subjects)
def test_every_person_has_91_virtual_voxels_per_region_without_clipping(data, stimuli, subject):
    dataset = dissimilarity.Adapter().responses(ENTRY, OPTIONS, subject, stimuli, data, [])
    check_responses(dataset, stimuli)
    for roi in ("EVC", "IT"):
        own = dataset["roi"].values == roi
        assert own.sum() == 91
        assert dataset.attrs["n_clipped_dimensions"][roi] == 0
        with np.load(data / OPTIONS.files[roi].path) as file:
            rdm = file["Net_RDM"][dissimilarity.subject_index(subject)]
        response = dataset["response"].values[:, own].astype(np.float64)
        squared = ((response[:, None] - response[None]) ** 2).sum(axis=2)
        # Between patterns of unit length, squared distance = 2 (1 - r).
        np.testing.assert_allclose(squared, 2 * rdm, atol=1e-5)


def test_people_share_something_in_both_regions(data, stimuli):
    ceilings = {"EVC": [], "IT": []}
    for subject in ENTRY.subjects:
        dataset = dissimilarity.Adapter().responses(ENTRY, OPTIONS, subject, stimuli, data, [])
        for roi, values in ceilings.items():
            values.append(float(dataset["noise_ceiling"].values[dataset["roi"].values == roi][0]))
    for values in ceilings.values():
        assert np.mean(values) > 0.01
        assert max(values) < 0.5
