"""Claims about the adapter of LAION-fMRI: values arrive where they should, faults are named."""

import json
import shutil

import numpy as np
import pytest
from pydantic import ValidationError
from trees.laion_fmri import AFFINE, SHAPE, save, write_laion_fmri
from trees.modalities import MODALITIES

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import laion_fmri
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.fold_files import fold_table
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.laion_fmri import Options
from gradbrain.datasets.noise_ceiling import ceiling_of_average, signal_to_noise
from gradbrain.datasets.responses import check_responses

ENTRY = DatasetEntry(
    name="laion_fmri",
    adapter="laion_fmri",
    modality=MODALITIES["fmri"],
    subjects=("laion_fmri-sub-01", "laion_fmri-sub-03"),
    licence="CC0",
)
REGIONS = {"V1": ("V1",), "hV4": ("hV4",), "FFA": ("FFA1", "FFA2")}
OPTIONS = Options(regions=REGIONS, early_rois=("V1",), high_rois=("FFA",), reference_roi="V1")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("laion")
    return root, write_laion_fmri(root)


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree that a test may damage."""
    shutil.copytree(written[0], tmp_path / "tree")
    return tmp_path / "tree"


def responses(root, options=OPTIONS, subject="laion_fmri-sub-01"):
    table = laion_fmri.Adapter().stimuli(ENTRY, options, subject, root)
    return table, laion_fmri.Adapter().responses(ENTRY, options, subject, table, root, [])


def trials_of(person, *, zscore):
    """Trials × voxels (all of the volume), and the label of each, computed directly."""
    values, labels = [], []
    for session, betas in person.betas.items():
        own = betas.reshape(-1, betas.shape[-1]).T.astype(np.float64)
        values.append((own - own.mean(axis=0)) / own.std(axis=0) if zscore else own)
        labels += person.labels[session]
    return np.concatenate(values), np.array(labels)


@pytest.mark.parametrize("subject", ENTRY.subjects)
@pytest.mark.parametrize("zscore", [True, False])
def test_every_average_arrives_at_its_image_and_voxel(written, subject, zscore):
    root, people = written
    person = people[subject[-6:]]
    options = OPTIONS.model_copy(update={"zscore": zscore})
    table, dataset = responses(root, options, subject)
    check_responses(dataset, table)
    values, labels = trials_of(person, zscore=zscore)
    voxels = dataset["vertex"].values
    for label, found in zip(table["image_id"], dataset["response"].values, strict=True):
        expected = values[labels == label][:, voxels].mean(axis=0)
        assert found == pytest.approx(expected, abs=2e-5)
    assert set(dataset["n_repeats"].values) == {2}


def test_voxels_have_regions_and_places_of_the_masks(written):
    root, people = written
    dataset = responses(root)[1]
    person = people["sub-01"]
    for name, region in (("V1", "V1"), ("hV4", "hV4"), ("FFA1", "FFA")):
        expected = np.flatnonzero(person.regions[name] & person.mask)
        assert set(dataset["vertex"].values[dataset["roi"].values == region]) == set(expected)
    index = np.stack(np.unravel_index(dataset["vertex"].values, SHAPE), axis=1)
    place = index @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    assert np.stack([dataset[axis].values for axis in "xyz"], axis=1) == pytest.approx(place)
    assert set(dataset["hemisphere"].values[place[:, 0] < 0]) == {"left"}
    assert dataset.attrs["roi_order"] == ["V1", "hV4", "FFA"]
    assert dataset.attrs["roi_distance"]["V1"] == 0
    whole = responses(root, OPTIONS.model_copy(update={"voxels": "mask"}))[1]
    assert set(whole["vertex"].values) == set(np.flatnonzero(person.mask))


def test_earlier_releases_and_no_regions_at_all_are_read(tmp_path):
    people = write_laion_fmri(tmp_path, people=["sub-01"], earlier=True)
    assert set(responses(tmp_path)[1]["roi"].values) == {"V1", "hV4", "FFA"}
    dataset = responses(tmp_path, Options())[1]
    assert set(dataset["roi"].values) == {"mask"} == set(dataset.attrs["roi_order"])
    assert dataset.sizes["target"] == people["sub-01"].mask.sum()


def test_ceilings_are_those_of_the_map_or_of_the_repeats(written):
    root, people = written
    dataset = responses(root)[1]
    percent = people["sub-01"].ceiling.ravel()[dataset["vertex"].values] / 100
    snr = percent / (1 - percent) / 4
    assert dataset["noise_ceiling"].values == pytest.approx(ceiling_of_average(snr, 2), abs=1e-5)
    table, own = responses(root, OPTIONS.model_copy(update={"noise_ceiling": "repeats"}))
    values, labels = trials_of(people["sub-01"], zscore=True)
    image = table.set_index("image_id").index.get_indexer(labels)
    expected = signal_to_noise(values[:, own["vertex"].values], image)
    assert own["noise_ceiling"].values == pytest.approx(ceiling_of_average(expected, 2), abs=1e-4)


def test_voxels_with_nan_are_left_out_and_counted(tree):
    path = laion_fmri.betas_file(tree, "sub-01", "ses-01")
    import nibabel as nib

    values = np.array(nib.load(path).dataobj)
    dataset = responses(tree)[1]
    place = np.unravel_index(dataset["vertex"].values[0], SHAPE)
    values[(*place, 3)] = np.nan
    save(path, values)
    again = responses(tree)[1]
    assert again.sizes["target"] == dataset.sizes["target"] - 1
    assert again.attrs["n_masked_targets"] == 1


def test_scaled_integers_are_read_as_what_they_stand_for(tree):
    import nibabel as nib

    path = laion_fmri.betas_file(tree, "sub-01", "ses-01")
    expected = responses(tree, OPTIONS.model_copy(update={"zscore": False}))[1]
    image = nib.Nifti1Image(np.array(nib.load(path).dataobj), AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, path)
    assert nib.load(path).dataobj.slope != 1
    found = responses(tree, OPTIONS.model_copy(update={"zscore": False}))[1]
    assert found["response"].values == pytest.approx(expected["response"].values, abs=1e-3)


def test_held_out_sessions_are_refused_by_name():
    with pytest.raises(ValidationError, match=r"ses-33 cannot be had: the authors hold out ses-31"):
        Options(sessions=("ses-01", "ses-33"))
    for odd in (("ses-1",), ("ses-01", "ses-01"), ()):
        with pytest.raises(ValidationError, match="expected sessions such as ses-01"):
            Options(sessions=odd)


def test_sessions_can_be_chosen_and_held_out_ones_are_never_taken(tree):
    shutil.copytree(
        tree / laion_fmri.BETAS / "sub-01" / "ses-01", tree / laion_fmri.BETAS / "sub-01" / "ses-31"
    )
    assert laion_fmri.sessions_of(tree, "sub-01", OPTIONS) == ["ses-01", "ses-02"]
    one = OPTIONS.model_copy(update={"sessions": ("ses-01",)})
    table, dataset = responses(tree, one)
    assert set(table["image_id"]) == set(laion_fmri.read_trials(tree, "sub-01", "ses-01"))
    assert set(dataset["n_repeats"].values) == {1, 2}


def test_splits_of_the_package_are_folds(written):
    root = written[0]
    table = laion_fmri.Adapter().stimuli(ENTRY, OPTIONS, "laion_fmri-sub-01", root)
    one = ENTRY.model_copy(update={"subjects": ("laion_fmri-sub-01",)})

    def folds(split, entry=one, stimuli=table):
        found = laion_fmri.Adapter().folds_of_split(entry, OPTIONS, split, root)
        return fold_table(found, stimuli, where=split, of_the_data_set=True)

    clusters = folds("cluster_k5")
    pool = [label for label in table["image_id"] if "OOD" not in label]
    assert list(clusters["image_id"]) == pool and set(clusters["fold"]) == set(range(5))
    for fold, own in clusters.groupby("fold")["image_id"]:
        path = root / "splits" / "sub-01" / f"cluster_k5_{fold}.json"
        assert set(own) == set(json.loads(path.read_text())["variants"][0]["test_ids"])
    odd = folds("ood")
    assert len(odd) == len(table)
    assert [("OOD" in image) for image in odd["image_id"]] == [fold == 0 for fold in odd["fold"]]
    assert set(odd["fold"]) == {-1, 0}
    shared = table[table["image_id"].str.startswith("shared")]
    assert set(folds("tau", ENTRY, shared)["fold"]) == {-1, 0}
    (root / "splits" / "sub-01" / "tau.json").rename(root / "tau.json")
    with pytest.raises(DatasetError, match=r"tau\.json: cannot be read as a split .*splits/data"):
        folds("tau")
    (root / "tau.json").rename(root / "splits" / "sub-01" / "tau.json")


def test_a_whole_tree_passes_and_what_is_missing_is_named(tree):
    assert laion_fmri.Adapter().check(ENTRY, OPTIONS, tree) == []
    entry = ENTRY.model_copy(update={"options": OPTIONS.model_dump(mode="json")})
    found = take_inventory(entry, tree)
    assert not found.obstacles("laion_fmri-sub-01")
    trials = laion_fmri.trials_file(tree, "sub-01", "ses-02")
    trials.unlink()
    shutil.rmtree(tree / "derivatives" / "rois" / "sub-03" / "visual")
    shutil.rmtree(tree / "stimuli")
    problems = "\n".join(laion_fmri.Adapter().check(ENTRY, OPTIONS, tree))
    assert f"{trials} is missing" in problems
    assert "sub-03 has no mask of region 'V1' (V1); it has none" in problems
    assert "stimuli/images is missing" in problems
    assert len(laion_fmri.Adapter().check(ENTRY, OPTIONS, tree / "absent")) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("label", "trial 1 has no label"),
        ("index", "beta_index must number the"),
        ("column", r"lacks the column\(s\) label"),
        ("volumes", "expected 18 volumes along a fourth axis"),
        ("grid", "both must be of one grid"),
        ("affine", "affines differ"),
        ("cut", "betas.*cannot be read|Betas.*cannot be read|ends within volume"),
        ("percent", "expected noise ceilings in percent"),
        ("image", "1 of 19 images have no file"),
        ("region", "has no mask of region 'else' .*FFA1, V1, hV4"),
    ],
)
def test_faults_are_named(tree, damage, message):
    import nibabel as nib

    trials, betas = (
        f(tree, "sub-01", "ses-01") for f in (laion_fmri.trials_file, laion_fmri.betas_file)
    )
    options, values = OPTIONS, np.array(nib.load(betas).dataobj)
    lines = trials.read_text().splitlines()
    if damage == "label":
        lines[2] = lines[2].rpartition("\t")[0] + "\t"
    elif damage == "index":
        lines[2] = lines[3]
    elif damage == "column":
        lines[0] = lines[0].replace("label", "name")
    elif damage == "volumes":
        lines = lines[:19]
    elif damage == "grid":
        save(betas, values[:-1])
    elif damage == "affine":
        nib.save(nib.Nifti1Image(values, np.eye(4)), betas)
    elif damage == "cut":
        betas.write_bytes(betas.read_bytes()[:-2000])
    elif damage == "percent":
        path = laion_fmri._person_file(tree, "sub-01", "desc-Noiseceiling4rep_statmap")
        save(path, np.full(SHAPE, 0.3, dtype=np.float32))
    elif damage == "image":
        next((tree / "stimuli" / "images").glob("unique_sub-01*")).unlink()
    elif damage == "region":
        options = Options(regions={"else": ("else",)})
    trials.write_text("\n".join(lines) + "\n")
    with pytest.raises(DatasetError, match=message):
        responses(tree, options)


def test_missing_images_can_be_left_out(tree):
    gone = next((tree / "stimuli" / "images").glob("unique_sub-01*"))
    gone.unlink()
    options = OPTIONS.model_copy(update={"missing_images": "drop"})
    table, dataset = responses(tree, options)
    assert gone.name not in set(table["image_id"]) and dataset.sizes["image"] == 18


def test_transparent_pixels_lie_on_middle_grey_and_sets_are_of_one_person(written):
    assert Options().background == (128, 128, 128)
    with pytest.raises(DatasetError, match="leave out `stimuli: "):
        entry = ENTRY.model_copy(update={"stimuli": "laion"})
        laion_fmri.Adapter().stimuli(entry, OPTIONS, "laion", written[0])
