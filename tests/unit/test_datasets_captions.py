"""Captions: each reaches its image, none is made up, and what is missing or damaged is named."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from PIL import Image
from trees.algonauts import write_algonauts_tree
from trees.coco import caption, coco_id, write_coco
from trees.modalities import MODALITIES
from trees.nsd import write_nsd_tree
from trees.things import write_things_fmri, write_things_meg

from gradbrain.config import GradbrainError
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.coco_captions import PARTS, captions_file, coco_captions
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.photographs import CALIBRATION_PHOTOGRAPHS, CAPTIONS, STIMULUS_PHOTOGRAPHS
from gradbrain.datasets.registry import adapter, gives_captions, read_options
from gradbrain.datasets.stimuli import Stimulus, read_stimuli, stimuli_table
from gradbrain.datasets.things_images import concept_caption
from gradbrain.store import write_table

INFO = "nsddata/experiments/nsd/nsd_stim_info_merged.csv"


def entry_of(adapter_name, subjects=(), stimuli=None, modality="fmri", **options):
    return DatasetEntry(
        name=adapter_name,
        adapter=adapter_name,
        modality=MODALITIES[modality],
        subjects=subjects,
        stimuli=stimuli,
        options=options,
    )


def table_of(entry, name, data):
    return adapter(entry.adapter).stimuli(entry, read_options(entry), name, data)


def problems_of(entry, data):
    return adapter(entry.adapter).check(entry, read_options(entry), data)


def claims_captions(entry, name, data):
    return gives_captions(entry, read_options(entry), name, data)


# --- the table -------------------------------------------------------------------------------


def stimulus(name, **more):
    locator = {"path": f"{name}.png"}
    return Stimulus(
        image_id=name, group="a", loader="file", locator=locator, content_sha256="0", **more
    )


def test_captions_survive_the_disk_and_some_images_may_have_none(tmp_path):
    table = stimuli_table([stimulus("a", caption="a cat"), stimulus("b")], name="mine")
    write_table(tmp_path / "mine.parquet", table)
    found = read_stimuli(tmp_path / "mine.parquet")["caption"]
    assert found[0] == "a cat"
    assert pd.isna(found[1])


def test_a_set_without_captions_is_the_table_that_it_always_was():
    assert "caption" not in stimuli_table([stimulus("a"), stimulus("b")], name="mine").columns


def test_a_caption_without_words_is_refused():
    with pytest.raises(DatasetError, match=r"'mine': 1 caption.*no words, e.g. that of 'b'"):
        stimuli_table([stimulus("a", caption="a cat"), stimulus("b", caption=" ")], name="mine")


# --- COCO, for NSD and Algonauts 2023 --------------------------------------------------------


@pytest.fixture(scope="module")
def nsd_tree(tmp_path_factory):
    tree = write_nsd_tree(tmp_path_factory.mktemp("trees") / "nsd", sessions=1, width=12)
    seen = sorted({int(identity) - 1 for identity in tree.shown(1, 1)})
    write_coco(tree.root / "annotations", tree.root / INFO, seen)
    return tree, seen


@pytest.fixture
def nsd_copy(nsd_tree, tmp_path):
    tree, _ = nsd_tree
    shutil.copytree(tree.root / "annotations", tmp_path / "nsd" / "annotations")
    (tmp_path / "nsd" / INFO).parent.mkdir(parents=True)
    shutil.copy(tree.root / INFO, tmp_path / "nsd" / INFO)
    return tmp_path / "nsd"


def nsd_entry(**options):
    options = {"sessions": 1, "parcellation": "streams", **options}
    return entry_of("nsd", ("nsd-subj01",), **options)


def test_images_of_nsd_have_their_first_caption_by_annotation_id(nsd_tree):
    tree, seen = nsd_tree
    entry = nsd_entry(captions="annotations")
    table = table_of(entry, "nsd-subj01", tree.root)
    assert list(table["caption"]) == [caption(index) for index in seen]
    assert claims_captions(entry, "nsd-subj01", tree.root)
    assert problems_of(entry, tree.root) == []
    items = {item.path: item.state for item in take_inventory(entry, tree.root).items}
    for path in (tree.root / INFO, *(captions_file(tree.root / "annotations", p) for p in PARTS)):
        assert items[str(path)] == "there"


def test_nsd_has_no_captions_unless_they_are_asked_for(nsd_tree):
    tree, _ = nsd_tree
    entry = nsd_entry()
    assert "caption" not in table_of(entry, "nsd-subj01", tree.root).columns
    assert not claims_captions(entry, "nsd-subj01", tree.root)
    assert not any("captions" in item.path for item in take_inventory(entry, tree.root).items)


def test_images_of_algonauts_2023_have_the_captions_of_nsd(tmp_path):
    write_algonauts_tree(tmp_path)
    indices = [13 + 3 * row for row in range(6)]
    write_coco(tmp_path / "coco", tmp_path / "info" / "nsd.csv", indices)
    subject = "algonauts2023-subj01"
    entry = entry_of("algonauts2023", (subject,), captions="coco", stimulus_info="info/nsd.csv")
    table = table_of(entry, subject, tmp_path)
    assert list(table["caption"]) == [caption(index) for index in indices]
    assert problems_of(entry, tmp_path) == []
    assert claims_captions(entry, subject, tmp_path)
    without = entry_of("algonauts2023", (subject,))
    assert "caption" not in table_of(without, subject, tmp_path).columns
    shutil.rmtree(tmp_path / "coco")
    (train, val) = (f"coco/captions_{part}.json: is missing; unpack" for part in PARTS)
    found = " ".join(problems_of(entry, tmp_path))
    assert train in found
    assert val in found
    obstacles = take_inventory(entry, tmp_path).obstacles(subject)
    assert f"{tmp_path}/coco/captions_val2017.json: missing" in obstacles


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def without_column(path):
    path.write_text(path.read_text().replace("cocoSplit", "split"))


def repeated(path):
    text = path.read_text()
    path.write_text(text + text.splitlines()[-1] + "\n")


def of_another_part(path):
    path.write_text(path.read_text().replace("val2017", "test2017"))


def without_a_part(path):
    path.write_text(path.read_text().replace("val2017", "", 1))


def no_list(path):
    path.write_text('{"annotations": [{"id": 1}]}')


def without_an_image(path):
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][1:]
    lost = content["annotations"][0]["image_id"]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] != lost]
    path.write_text(json.dumps(content))


TRAIN = "annotations/captions_train2017.json"


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (INFO, None, r"nsd_stim_info_merged.csv: is missing; get nsddata"),
        (INFO, without_column, r"lacks the column.* cocoSplit"),
        (INFO, repeated, r"one row per nsdId .*found an nsdId twice"),
        (INFO, of_another_part, r"train2017 or val2017, found test2017"),
        (INFO, without_a_part, r"train2017 or val2017, found an empty cell"),
        (TRAIN, None, r"captions_train2017.json: is missing; unpack annotations_trainval2017"),
        (TRAIN, cut, r"captions_train2017.json: cannot be read as captions of COCO"),
        (TRAIN, no_list, r"captions_train2017.json: cannot be read .*KeyError"),
        (TRAIN, without_an_image, r"holds no caption of image \d+, which nsdId \d+ was cut from"),
    ],
)
def test_what_is_missing_or_damaged_of_the_captions_is_named(
    nsd_tree, nsd_copy, file, damage, message
):
    damage(nsd_copy / file) if damage else (nsd_copy / file).unlink()
    with pytest.raises(DatasetError, match=message):
        coco_captions(nsd_tree[1], folder=nsd_copy / "annotations", info=nsd_copy / INFO)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (INFO, None, "nsd_stim_info_merged.csv: is missing"),
        (INFO, without_column, "nsd_stim_info_merged.csv: lacks the column(s) cocoSplit"),
        (TRAIN, None, "captions_train2017.json: is missing"),
        (TRAIN, cut, "captions_train2017.json: is no whole JSON mapping"),
    ],
)
def test_the_check_and_the_inventory_name_it_before_any_job(nsd_copy, file, damage, message):
    damage(nsd_copy / file) if damage else (nsd_copy / file).unlink()
    entry = nsd_entry(captions="annotations")
    assert any(message in problem for problem in problems_of(entry, nsd_copy))
    states = {item.path: item.state for item in take_inventory(entry, nsd_copy).items}
    assert states[str(nsd_copy / file)] == ("unreadable" if damage else "missing")


def test_an_image_that_the_table_does_not_know_is_named(nsd_copy):
    with pytest.raises(DatasetError, match=r"has no row with the nsdId 72999"):
        coco_captions([72999], folder=nsd_copy / "annotations", info=nsd_copy / INFO)


def test_only_the_part_of_coco_that_images_are_of_is_read(tmp_path):
    write_coco(tmp_path, tmp_path / "nsd.csv", [0, 1])
    captions_file(tmp_path, "train2017").unlink()
    assert coco_captions([0], folder=tmp_path, info=tmp_path / "nsd.csv") == {0: caption(0)}
    assert coco_id(0) != coco_id(1)


# --- THINGS ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concept", "expected"),
    [
        ("dog", "a photo of a dog"),
        ("air_mattress", "a photo of an air mattress"),
        ("bat1", "a photo of a bat"),
        ("Ice_cube", "a photo of an Ice cube"),
    ],
)
def test_a_concept_of_things_is_said_in_words(concept, expected):
    assert concept_caption(concept) == expected


@pytest.mark.parametrize(
    ("name", "write", "subject"),
    [
        ("things_fmri", write_things_fmri, "things_fmri-sub-01"),
        ("things_meg", write_things_meg, "things_meg-P1"),
    ],
)
def test_images_of_things_are_called_by_their_concept_if_asked(tmp_path, name, write, subject):
    write(tmp_path)
    modality = name.removeprefix("things_")
    entry = entry_of(name, (subject,), name, modality, captions="concept")
    table = table_of(entry, name, tmp_path)
    for image, words in zip(table["image_id"], table["caption"], strict=True):
        assert words == concept_caption(image.rpartition("_")[0])
    assert len(set(table["caption"])) > 1
    assert claims_captions(entry, name, tmp_path)
    silent = entry_of(name, (subject,), name, modality)
    assert "caption" not in table_of(silent, name, tmp_path).columns
    assert not claims_captions(silent, name, tmp_path)


def test_images_of_things_with_the_same_pixels_keep_their_own_captions(tmp_path):
    from gradbrain.datasets.things_images import things_stimuli

    for image in ("bat1/bat1_01b.jpg", "owl/owl_02s.jpg"):
        (tmp_path / image).parent.mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / image)
    table = things_stimuli(
        ["bat1_01b.jpg", "owl_02s.jpg"],
        folder=tmp_path,
        group="category",
        missing="error",
        name="mine",
        captions="concept",
    )
    assert list(table["caption"]) == ["a photo of a bat", "a photo of an owl"]
    assert len(set(table["group"])) == 1


# --- one's own images, and photographs of packages -------------------------------------------


def test_ones_own_table_of_images_may_have_captions(tmp_path):
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"image_id": ["a", "b"], "file": ["a.png", "b.png"]})
    entry = entry_of("arrays", (), "mine", "none", table="images.csv")
    # `check` tells that the table is missing.
    assert claims_captions(entry, "mine", tmp_path)
    table.to_csv(tmp_path / "images.csv", index=False)
    assert not claims_captions(entry, "mine", tmp_path)
    assert "caption" not in table_of(entry, "mine", tmp_path).columns
    table.assign(caption=["0042", ""]).to_csv(tmp_path / "images.csv", index=False)
    found = table_of(entry, "mine", tmp_path)["caption"]
    # What looks like a number stays the text that was written.
    assert found[0] == "0042"
    assert pd.isna(found[1])
    assert claims_captions(entry, "mine", tmp_path)
    folder = entry_of("arrays", (), "mine", "none", images="*.png")
    assert not claims_captions(folder, "mine", tmp_path)


def test_photographs_of_packages_are_called_what_they_show_if_asked(tmp_path):
    assert set(CAPTIONS) == {*STIMULUS_PHOTOGRAPHS, *CALIBRATION_PHOTOGRAPHS}
    options = {"split": "calibration", "n_images": 8}
    entry = entry_of("photographs", (), "mine", "none", captions="photograph", **options)
    table = table_of(entry, "mine", tmp_path)
    by_photograph = table.groupby("group")["caption"].unique()
    assert list(by_photograph["camera"]) == ["a photo of a man with a camera on a tripod"]
    assert table["caption"].notna().all()
    assert claims_captions(entry, "mine", tmp_path)
    silent = entry_of("photographs", (), "mine", "none", **options)
    assert "caption" not in table_of(silent, "mine", tmp_path).columns
    assert not claims_captions(silent, "mine", tmp_path)


def test_a_photograph_that_nobody_described_is_named(tmp_path):
    entry = entry_of(
        "photographs", (), "mine", "none", photographs=["mine/x.png"], captions="photograph"
    )
    with pytest.raises(GradbrainError, match=r"captions: there is none for mine/x.png"):
        read_options(entry)


def test_adapters_without_captions_say_so(tmp_path):
    simulated = entry_of("simulated", ("s1",), "simulated", world="feedforward")
    assert not gives_captions(simulated, None, "simulated", tmp_path)
