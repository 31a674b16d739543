"""Images of every adapter follow from its `ImageOptions`, and from four keys of an entry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from trees.algonauts import write_algonauts_tree
from trees.coco import write_coco
from trees.laion_fmri import write_laion_fmri
from trees.modalities import MODALITIES
from trees.nsd import write_nsd_tree
from trees.things import write_things_fmri, write_things_meg
from trees.things_eeg2 import write_images_of_eeg2

from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.registry import adapter, read_options

# What of an entry, besides options, the parameter of the job holds.
ENTRY_KEYS = {"name", "adapter", "stimuli", "subjects"}
INFO = "nsddata/experiments/nsd/nsd_stim_info_merged.csv"


class Recorder:
    """Passes on the keys of an entry and keeps the names of those that were read."""

    def __init__(self, settings):
        self.settings = settings
        self.read = set()

    def __getattr__(self, name):
        if name in type(self.settings).model_fields:
            self.read.add(name)
        return getattr(self.settings, name)


def write_pictures(folder, count=4):
    (folder / "images").mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"image_{number}.png")


def nsd(folder):
    tree = write_nsd_tree(folder, sessions=1, width=12)
    seen = sorted({int(identity) - 1 for identity in tree.shown(1, 1)})
    write_coco(folder / "annotations", folder / INFO, seen)
    return {"options": {"captions": "annotations", "group": "session", "sessions": 1}}


def algonauts2023(folder):
    write_algonauts_tree(folder)
    write_coco(folder / "coco", folder / "coco" / "info.csv", range(13, 40))
    return {"options": {"captions": "coco", "stimulus_info": "coco/info.csv"}}


def things_meg(folder):
    write_things_meg(folder, participants=(1, 2))
    shared = {"subjects": ["own-P1", "own-P2"], "stimuli": "own"}
    return {"options": {"captions": "concept"}, "modality": MODALITIES["meg"], **shared}


def things_fmri(folder):
    write_things_fmri(folder)
    shared = {"subjects": ["own-sub-01", "own-sub-02"], "stimuli": "own"}
    return {"options": {"captions": "concept"}, **shared}


def things_eeg2(folder):
    write_images_of_eeg2(folder)
    shared = {"subjects": ["own-sub-01"], "stimuli": "own", "modality": MODALITIES["eeg"]}
    return {"options": {"captions": "concept"}, **shared}


def laion_fmri(folder):
    write_laion_fmri(folder, people=["sub-01"])
    rois = {"early_rois": ["V1"], "high_rois": ["FFA"], "reference_roi": "V1"}
    return {"options": {"regions": {"V1": ["V1"], "FFA": ["FFA1"]}, **rois}}


def arrays(folder):
    write_pictures(folder)
    rows = [(f"i{n}", f"images/image_{n}.png", f"g{n % 2}", n, f"number {n}") for n in range(4)]
    table = pd.DataFrame(rows, columns=["image_id", "file", "group", "label", "caption"])
    table.to_csv(folder / "images.csv", index=False)
    return {"options": {"table": "images.csv"}, "stimuli": "own"}


def arrays_without_a_table(folder):
    write_pictures(folder)
    return {"adapter": "arrays", "options": {"images": "images/*.png"}, "stimuli": "own"}


def dissimilarity(folder):
    write_pictures(folder)
    np.save(folder / "it.npy", 1 - np.eye(4))
    options = {"files": {"IT": {"path": "it.npy"}}, "images": "images/*.png", "roi_order": ["IT"]}
    return {"options": options, "stimuli": "own"}


def photographs(folder):
    options = {"n_images": 18, "size": 16, "captions": "photograph"}
    return {"options": options, "stimuli": "own", "modality": None, "subjects": []}


def simulated(folder):
    options = {
        "world": "feedforward",
        "planting_model": "net",
        "planting_signal_set": "planted",
        "planting_layers": ["a", "b"],
        "images": {"n_images": 18, "size": 16},
    }
    return {"options": options}


CASES = (
    (nsd, "own-subj01"),
    (algonauts2023, "own-subj01"),
    (things_meg, "own-P1"),
    (things_fmri, "own-sub-01"),
    (things_eeg2, "own-sub-01"),
    (laion_fmri, "own-sub-01"),
    (arrays, "own-s1"),
    (arrays_without_a_table, "own-s1"),
    (dissimilarity, "own-s1"),
    (photographs, "own-s1"),
    (simulated, "own-s1"),
)


@pytest.mark.parametrize(("write", "subject"), CASES)
def test_images_are_made_from_their_own_options_and_few_keys_of_the_entry(write, subject, tmp_path):
    about = {"name": "own", "adapter": write.__name__, "subjects": [subject]}
    about["modality"] = MODALITIES["fmri"]
    entry = DatasetEntry(**about | write(tmp_path))
    source, options, asked = adapter(entry.adapter), read_options(entry), Recorder(entry)
    own = source.of_images(options)
    # Of another class than all options, it has no more to read.
    assert set(own.model_dump()) == set(source.image_options.model_fields)
    assert own.model_dump().items() <= options.model_dump().items()
    name = entry.stimuli or subject
    table = source.stimuli(asked, own, name, tmp_path)
    assert len(table) >= 4
    pd.testing.assert_frame_equal(table, source.stimuli(entry, options, name, tmp_path))
    assert asked.read <= ENTRY_KEYS


def test_each_adapter_is_proven():
    names = {write.__name__.removesuffix("_without_a_table") for write, _ in CASES}
    assert names == set(LIBRARY_PLUGINS.names("adapters"))
