"""Claims about folds and images of a study's own: every fault is named, every row arrives."""

import json
from pathlib import Path

import assign_folds
import choose_images
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gradbrain.config import GradbrainError
from gradbrain.config.study import load_study
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.fold_files import (
    check_folds,
    fold_problem,
    fold_table,
    folds_of_splits,
    read_fold_file,
)
from gradbrain.datasets.image_choice import named_images, read_image_list, shared_images
from gradbrain.datasets.narrow import narrow_responses, rescaled_ceiling
from gradbrain.datasets.noise_ceiling import ceiling_of_average
from gradbrain.datasets.responses import TargetBlocks, target_responses, write_target_blocks
from gradbrain.encoding.inputs import read_image_groups
from gradbrain.encoding.splits import grouped_folds, outer_splits
from gradbrain.plan.jobs import Plan
from gradbrain.store import open_store, read_table, write_table

ROOT = Path(__file__).resolve().parents[2]
ATTRS = {
    "dataset": "some", "subject": "some-p1", "modality": "fmri", "axis": "roi",
    "sensors": "voxels", "units": "", "space": "voxels", "rotation_invariant": False,
    "roi_order": ["V1"], "early_rois": [], "high_rois": [], "onset_s": 0.0, "licence": "",
    "citation": "", "preprocessing": "",
}  # fmt: skip


def stimuli(n=12, groups=None, start=0):
    names = [f"image_{number}" for number in range(start, start + n)]
    return pd.DataFrame(
        {
            "image_id": names,
            "group": names if groups is None else groups,
            "label": pd.array([None] * n, dtype="Int64"),
            "loader": "file",
            "locator": [json.dumps({"path": f"{name}.png"}) for name in names],
            "content_sha256": [f"{name:0>64}" for name in names],
        }
    )


def folds_by(n, k):
    return {f"image_{number}": str(number % k) for number in range(n)}


@pytest.mark.parametrize(
    ("groups", "n_folds", "message"),
    [
        (["one"] * 40, 5, r"40 images are of 1 group\(s\)"),
        (["a", "b", "c"] * 9, 5, r"27 images are of 3 group\(s\)"),
        (list("abc"), 5, r"there are 3 image\(s\)"),
        (list("abcd"), 2, r"4 images in 4 group\(s\) leave a fold with 2 image\(s\)"),
        (["a"] * 30 + ["b"], 2, r"leave a fold with 1 image\(s\)"),
    ],
)
def test_images_that_do_not_fill_the_folds_are_refused(groups, n_folds, message):
    table = stimuli(len(groups), groups)
    with pytest.raises(DatasetError, match=rf"'mine': encoding\.n_folds is {n_folds}.*{message}"):
        check_folds(table, n_folds, name="mine")
    check_folds(table, None, name="mine")


def test_what_is_refused_is_what_the_fits_would_lay_out():
    rng = np.random.default_rng(0)
    for _ in range(50):
        groups = [str(group) for group in rng.integers(0, 9, rng.integers(6, 30))]
        if fold_problem(groups, 3) == "":
            assert np.bincount(grouped_folds(groups, 3, seed=1)).min() >= 3
        elif len(set(groups)) >= 3:
            assert np.bincount(grouped_folds(groups, 3, seed=1)).min() < 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "image_id,fold\nx,0\ny,1\n"),
        ("a.tsv", "fold\timage_id\n0\tx\n1\ty\n"),
        ("a.json", '{"x": 0, "y": "1"}'),
        ("a.json", '[["x"], ["y"]]'),
        ("a.json", '{"folds": [["x"], ["y"]]}'),
        (
            "a.json",
            '{"name": "k2", "variants": [{"variant_id": 0, "train_ids": ["y"], "test_ids": ["x"]},'
            ' {"variant_id": 1, "train_ids": ["x"], "test_ids": ["y"]}]}',
        ),
    ],
)
def test_every_layout_of_a_file_says_the_same(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_fold_file(tmp_path / name) == {"x": "0", "y": "1"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "image,fold\nx,0\n", r"lacks the column\(s\) image_id; it has image, fold"),
        ("a.csv", "image_id,fold\nx,\n", "line 2: an image or its fold is empty"),
        ("a.csv", "image_id,fold\nx,0\nx,1\n", "more than once, e.g. 'x'"),
        ("a.csv", "image_id,fold\n", "names no image"),
        ("a.json", '{"x": 0, "x": 1}', "more than once, e.g. 'x'"),
        ("a.json", '[["x"], []]', "fold 1 has no images"),
        ("a.json", '[["x"], ["x"]]', "more than once, e.g. 'x'"),
        ("a.json", '{"x": 1.5}', "fold of 'x' is 1.5"),
        ("a.json", '{"x": [1]}', r"fold of 'x' is \[1\]"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "3", "expected {image: fold}"),
        ("a.json", '{"variants": [{"train_ids": ["x"]}]}', "split 0 must hold the lists"),
    ],
)
def test_faulty_files_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=rf"{name}.*{message}"):
        read_fold_file(tmp_path / name)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_fold_file(tmp_path / "absent.csv")


def test_splits_that_are_no_folds_are_refused():
    split = {"train_ids": ["a", "b"], "test_ids": ["c"]}
    assert dict(folds_of_splits([split], where="s")) == {"c": "0", "a": "train", "b": "train"}
    with pytest.raises(DatasetError, match=r"trains on 1 image.* that it holds out, e.g. 'a'"):
        folds_of_splits([{**split, "test_ids": ["a"]}], where="s")
    other = {"train_ids": ["c"], "test_ids": ["a"]}
    with pytest.raises(DatasetError, match=r"split 1 neither trains on nor holds out .*'b'"):
        folds_of_splits([split, other], where="s")


def test_a_table_of_folds_has_each_image_once_and_numbers_in_order():
    folds = {**folds_by(12, 3), "image_0": "train", "image_1": "unused"}
    table = fold_table(folds, stimuli(), where="f", of_the_data_set=False)
    assert list(table["image_id"]) == [f"image_{n}" for n in range(12) if n != 1]
    assert list(table["fold"]) == [-1, *(n % 3 for n in range(2, 12))]
    ten = {f"image_{n}": str(8 + n // 4) for n in range(12)}
    assert list(fold_table(ten, stimuli(), where="f", of_the_data_set=False)["fold"]) == [
        n // 4 for n in range(12)
    ]


@pytest.mark.parametrize(
    ("folds", "groups", "message"),
    [
        ({**folds_by(12, 3), "other": "0"}, None, r"1 image\(s\) are none .* 'other'"),
        (folds_by(11, 3), None, "1 of 12 images have no fold, e.g. 'image_11'"),
        (folds_by(12, 5), None, r"fold '2' holds out 2 image\(s\), expected 3"),
        (dict.fromkeys(folds_by(12, 1), "0"), None, r"0 image\(s\) are left to train on"),
        (dict.fromkeys(folds_by(12, 1), "train"), None, "no image .* is held out"),
        (folds_by(12, 3), ["g", "g", *"abcdefhijk"], "'image_0' and 'image_1' are of one group"),
    ],
)
def test_folds_that_do_not_fit_the_images_are_refused(folds, groups, message):
    with pytest.raises(DatasetError, match=f"f: {message}"):
        fold_table(folds, stimuli(groups=groups), where="f", of_the_data_set=False)


def test_a_split_of_the_data_set_may_know_more_and_fewer_images():
    folds = {**folds_by(9, 3), "of_another_person": "0"}
    table = fold_table(folds, stimuli(), where="s", of_the_data_set=True)
    assert len(table) == 9
    with pytest.raises(DatasetError, match="fold '7' holds out no image"):
        fold_table({**folds, "else": "7"}, stimuli(), where="s", of_the_data_set=True)


def test_lists_of_images_are_read_and_their_faults_named(tmp_path):
    (tmp_path / "a.txt").write_text("# some\nx\n\n y \n")
    (tmp_path / "a.csv").write_text("n,image_id\n1,x\n2,y\n")
    assert read_image_list(tmp_path / "a.txt") == read_image_list(tmp_path / "a.csv") == ("x", "y")
    for text, message in (("x\nx\n", "'x' is there more than once"), ("#\n", "names no image")):
        (tmp_path / "b.txt").write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_image_list(tmp_path / "b.txt")
    tables = {"one": stimuli(4), "two": stimuli(4, start=2)}
    kept = named_images(tables, "one", ["image_3", "image_5", "image_0"], where="l")
    assert list(kept["image_id"]) == ["image_0", "image_3"]
    with pytest.raises(DatasetError, match=r"1 of 2 image.* no stimulus set .*one, two.*'else'"):
        named_images(tables, "one", ["image_0", "else"], where="l")
    with pytest.raises(DatasetError, match="none of the 1 images is in the stimulus set 'one'"):
        named_images(tables, "one", ["image_5"], where="l")


def test_shared_images_are_those_of_all_sets_in_joined_groups():
    one = stimuli(5, ["a", "b", "c", "d", "e"])
    two = stimuli(5, ["p", "p", "q", "r", "r"], start=1)
    kept = shared_images({"one": one, "two": two})
    assert list(kept["image_id"]) == [f"image_{n}" for n in (1, 2, 3, 4)]
    assert list(kept["group"]) == ["b", "b", "d", "e"]
    other = two.assign(content_sha256="0" * 64)
    with pytest.raises(
        DatasetError, match=r"4 image\(s\).*same id and other pixels, e.g. 'image_1"
    ):
        shared_images({"one": one, "two": other})
    with pytest.raises(DatasetError, match="no image of the same id in common"):
        shared_images({"one": one, "two": stimuli(2, start=30)})


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    table, repeats = stimuli(), np.array([1, 2, 3] * 4)
    targets = pd.DataFrame(
        {"roi": "V1", "hemisphere": "", "x": 0.0, "y": 0.0, "z": 0.0, "vertex": range(5)}
    )
    values = rng.standard_normal((12, 5)).astype(np.float32)
    values[[0, 3, 6, 9], 2] = 1.0
    snr = rng.uniform(0.1, 1, 5)
    ceiling = ceiling_of_average(snr, repeats)
    test = np.arange(12) < 4
    whole = target_responses(
        values, targets, stimuli=table, n_repeats=repeats, noise_ceiling=ceiling,
        attrs=dict(ATTRS), test_image=test,
    )  # fmt: skip
    blocks = TargetBlocks(
        stimuli=table, n_repeats=repeats, targets=targets, noise_ceiling=ceiling,
        attrs=dict(ATTRS), blocks=iter([values[:, :2], values[:, 2:]]), test_image=test,
    )  # fmt: skip
    return table, whole, blocks, values, snr


def test_narrowed_responses_keep_rows_and_their_ceilings_follow(made, tmp_path):
    table, whole, blocks, values, snr = made
    rows = [0, 3, 6, 9]
    chosen = table.iloc[rows].assign(group="g").reset_index(drop=True)
    part, left = narrow_responses(whole, table, chosen)
    assert list(left["image_id"]) == list(part["image_id"].values)
    # The third target does not vary over these four.
    kept = [0, 1, 3, 4]
    assert np.array_equal(part["response"].values, values[np.ix_(rows, kept)])
    assert part["noise_ceiling"].values == pytest.approx(ceiling_of_average(snr[kept], 1), abs=1e-6)
    assert set(part["group"].values) == {"g"} and list(part["n_repeats"].values) == [1] * 4
    assert (part.attrs["n_masked_targets"], part.attrs["n_images_left_out"]) == (1, 8)
    write_target_blocks(tmp_path / "b.zarr", narrow_responses(blocks, table, chosen)[0])
    xr.testing.assert_allclose(
        open_store(tmp_path / "b.zarr", kind="responses").load(), part, check_dim_order=True
    )


def test_folds_travel_with_the_responses_to_the_fits(made, tmp_path):
    table, _, blocks, _, _ = made
    folds = fold_table(
        {**folds_by(12, 3), "image_0": "train", "image_1": "unused"},
        table,
        where="f",
        of_the_data_set=False,
    )
    made_blocks, left = narrow_responses(blocks, table, table, folds)
    assert "image_1" not in set(left["image_id"])
    write_target_blocks(tmp_path / "b.zarr", made_blocks)
    images = read_image_groups(tmp_path / "b.zarr")
    expected = dict(zip(folds["image_id"], folds["fold"], strict=True))
    assert list(images.folds) == [expected[name] for name in images.image_ids]
    splits = outer_splits(images.groups, 9, 0, None, images.folds)
    assert [list(images.image_ids[split.held_out]) for split in splits] == [
        sorted(f"image_{n}" for n in range(2, 12) if n % 3 == fold) for fold in (0, 1, 2)
    ]
    assert all("image_0" in images.image_ids[split.train] for split in splits)
    assert all(len(split.train) + len(split.held_out) == 11 for split in splits)


def test_ceilings_follow_the_number_of_presentations():
    before, after = np.array([1, 2, 4]), np.array([4, 4])
    snr = np.array([0.2, 1.5])
    assert rescaled_ceiling(ceiling_of_average(snr, before), before, after) == pytest.approx(
        ceiling_of_average(snr, after)
    )


def plan_of(**keys):
    config = {
        "study": "mine",
        "datasets": [{"name": "simulated_fmri_feedforward"}],
        "models": [{"name": "mobilenetv2_050_untrained", "layers": ["blocks.1"]}],
        "features": {"signal_set": "demo"},
        **keys,
    }
    return Plan(load_study(config, root=ROOT, where="mine.yaml"), ROOT)


def test_planning_names_faulty_folds_and_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for keys, message in (
        ({"folds": "absent.csv"}, "mine.yaml: folds: absent.csv: .*cannot be read"),
        ({"folds": "cluster_k5"}, "folds: 'cluster_k5' is no file .* brings no splits"),
        ({"images": "absent.txt"}, "mine.yaml: images: absent.txt: .*cannot be read"),
        ({"images": ["x", "x"]}, "images: the list: 'x' is there more than once"),
    ):
        with pytest.raises(GradbrainError, match=message):
            plan_of(**keys).check()
    with pytest.raises(GradbrainError, match="folds: there is no data set of the study 'nsd'"):
        plan_of(folds={"nsd": "a.csv"})


def test_planning_names_too_few_groups_where_the_images_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(Path("results/stimuli/simulated.parquet"), stimuli(4), kind="stimuli")
    with pytest.raises(GradbrainError, match=r"encoding\.n_folds is 5, but there are 4 image"):
        plan_of().check()
    with pytest.raises(GradbrainError, match="leave a fold with 2 image"):
        plan_of(encoding={"n_folds": 2}).check()


def test_a_study_of_chosen_images_has_a_stimulus_set_of_its_own():
    plan = plan_of(images=["a", "b"], folds="a.csv")
    subject = plan.subjects[0]
    name = plan.study.seen_by(subject)
    assert name == "mine-simulated" and plan.images.chosen_from(name) == [
        "results/stimuli/simulated.parquet"
    ]
    assert plan.images.tables_of(subject) == {
        "images": ["results/stimuli/mine-simulated.parquet"],
        "folds": ["results/mine/folds/mine-simulated.parquet"],
    }
    analysed = {stimuli for model, _, _, stimuli in plan.all_features() if model in plan.models}
    assert analysed == {"mine-simulated"}
    assert plan.images.n_folds_of(name) is None and plan_of().images.n_folds_of("simulated") == 5
    shared = plan_of(images="shared", datasets=[
        {"name": "simulated_fmri_feedforward"}, {"name": "simulated_meg_feedforward"}
    ])  # fmt: skip
    assert {shared.study.seen_by(name) for name in shared.subjects} == {"mine"}


def test_the_jobs_write_what_the_files_say(tmp_path, capsys):
    for name, start in (("one", 0), ("two", 2)):
        write_table(tmp_path / f"{name}.parquet", stimuli(12, start=start), kind="stimuli")
    sets = [str(tmp_path / f"{name}.parquet") for name in ("one", "two")]
    out = tmp_path / "mine.parquet"
    choose_images.main(["--stimuli", *sets, "--shared", "--n-folds", "3", "--output", str(out)])
    assert list(read_table(out, kind="stimuli")["image_id"]) == [f"image_{n}" for n in range(2, 12)]
    names = json.dumps(["image_4", "image_3", "image_13"])
    named = ["--keep", "one", "--images", names, "--output", str(tmp_path / "named.parquet")]
    choose_images.main(["--stimuli", *sets, *named])
    table = read_table(tmp_path / "named.parquet", kind="stimuli")
    assert list(table["image_id"]) == ["image_3", "image_4"]
    with pytest.raises(DatasetError, match=r"'named': encoding\.n_folds is 2"):
        choose_images.main(["--stimuli", *sets, *named, "--n-folds", "2"])
    (tmp_path / "f.json").write_text(json.dumps(folds_by(12, 3)))
    written = tmp_path / "folds.parquet"
    assign_folds.main(
        ["--stimuli", sets[0], "--folds", str(tmp_path / "f.json"), "--output", str(written)]
    )
    assert list(read_table(written, kind="folds")["fold"]) == [n % 3 for n in range(12)]


def test_fits_of_one_fold_hold_it_out_and_train_on_the_rest():
    folds = np.array([-1] * 8 + [0] * 4)
    (split,) = outer_splits(np.arange(12).astype(str), 5, 0, None, folds)
    assert list(split.train) == list(range(8)) and list(split.held_out) == [8, 9, 10, 11]
