"""Claims about the adapter of THINGS-EEG2: values arrive where they should, faults are named."""

import shutil

import mne
import numpy as np
import pandas as pd
import pytest
from trees.modalities import MODALITIES
from trees.things_eeg2 import (
    CAP,
    CHANNELS,
    TIMES,
    TRAINING,
    save_dictionary,
    write_preprocessed,
    write_raw,
)

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import things_eeg2
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.noise_ceiling import average_repeats
from gradbrain.datasets.pickled_arrays import read_pickled
from gradbrain.datasets.responses import check_responses
from gradbrain.datasets.sensors import montage_places
from gradbrain.datasets.things_eeg2 import Options
from gradbrain.datasets.things_eeg2_raw import RawOptions, noise_whitener

ENTRY = DatasetEntry(
    name="things_eeg2",
    adapter="things_eeg2",
    modality=MODALITIES["eeg"],
    subjects=("things_eeg2-sub-01", "things_eeg2-sub-02"),
    stimuli="things_eeg2",
    licence="CC BY 4.0",
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("things_eeg2")
    return root, write_preprocessed(root)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("things_eeg2_raw")
    mixing = np.eye(len(CAP)) + 0.4 * np.random.default_rng(1).standard_normal((len(CAP),) * 2)
    return root, write_raw(root, mixing=mixing)


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree that a test may damage."""
    shutil.copytree(written[0], tmp_path / "tree")
    return tmp_path / "tree"


def stimuli(root, options=None):
    return things_eeg2.Adapter().stimuli(ENTRY, options or Options(), "things_eeg2", root)


def responses(root, options=None, subject="things_eeg2-sub-01"):
    options = options or Options()
    table = stimuli(root, options)
    return table, things_eeg2.Adapter().responses(ENTRY, options, subject, table, root, [])


def files_of(root, partition):
    return sorted((root / "image_set" / f"{partition}_images").glob("*/*.jpg"))


def preprocessed(root, partition, person=1):
    return root / "preprocessed_data" / f"sub-{person:02d}" / f"preprocessed_eeg_{partition}.npy"


@pytest.mark.parametrize("person", [1, 2])
def test_every_average_arrives_at_its_image_time_and_channel(written, person):
    root, people = written
    table, dataset = responses(root, subject=f"things_eeg2-sub-{person:02d}")
    check_responses(dataset, table)
    assert list(dataset["sensor"].values) == list(CHANNELS)
    assert dataset["time"].values == pytest.approx(TIMES)
    rows = pd.Index(table["image_id"])
    for partition in ("training", "test"):
        values = getattr(people[person], partition)
        for path, own in zip(files_of(root, partition), values, strict=True):
            found = dataset["response"].values[rows.get_loc(path.stem)]
            assert found == pytest.approx(own.mean(axis=0).T, abs=1e-5)


def test_test_images_and_numbers_of_trials_are_marked(written):
    root = written[0]
    table, dataset = responses(root)
    test = {path.stem for path in files_of(root, "test")}
    assert list(dataset["test_image"].values) == [name in test for name in table["image_id"]]
    expected = np.where(dataset["test_image"].values, 8, 4)
    assert list(dataset["n_repeats"].values) == list(expected)
    assert dataset.attrs["units"] == "whitened"
    alone = responses(root, Options(partitions=("test",)))[1]
    assert alone.sizes["image"] == len(test) and "test_image" not in alone.coords


def test_groups_are_concepts_or_images_and_captions_name_them(written):
    table = stimuli(written[0], Options(captions="concept"))
    of_training = table[~table["group"].isin({"dog", "mango", "panda"})]
    assert set(of_training["group"]) == set(TRAINING)
    assert of_training.groupby("group").size().tolist() == [2] * len(TRAINING)
    assert set(table[table["group"] == "bat1"]["caption"]) == {"a photo of a bat"}
    alone = stimuli(written[0], Options(group="image"))
    assert list(alone["group"]) == list(alone["image_id"])


def test_ceilings_come_from_the_repeats_of_test_images(tmp_path):
    people = write_preprocessed(tmp_path, people=[1], repeats=(4, 80))
    dataset = responses(tmp_path)[1]
    repeats = people[1].test.swapaxes(0, 1)
    of_eighty = average_repeats(repeats)[1].T
    snr = of_eighty / (1 - of_eighty) / 80
    expected = snr / (snr + np.mean(1 / dataset["n_repeats"].values))
    assert dataset["noise_ceiling"].values == pytest.approx(expected, abs=1e-5)


def test_channels_and_times_can_be_chosen(written):
    options = Options(sensors=("O",), tmin=0.0, tmax=0.1)
    dataset = responses(written[0], options)[1]
    assert list(dataset["sensor"].values) == ["O1", "Oz", "O2"]
    assert dataset["time"].values == pytest.approx(np.arange(0, 0.105, 0.01))


def test_channels_are_placed_by_their_names(written):
    dataset = responses(written[0])[1]
    known = montage_places("standard_1005").set_index("sensor")
    for name, x, y in zip(
        dataset["sensor"].values,
        dataset["sensor_x"].values,
        dataset["sensor_y"].values,
        strict=True,
    ):
        assert (x, y) == pytest.approx(tuple(known.loc[name]))
    where = dict(zip(dataset["sensor"].values, dataset["sensor_x"].values, strict=True))
    assert where["O1"] < 0 < where["O2"]


def test_standardised_responses_have_mean_0_and_variance_1_over_trials(written):
    root, people = written
    table, dataset = responses(root, Options(standardise=True))
    trials = np.concatenate(
        [part.reshape(-1, *part.shape[2:]) for part in (people[1].training, people[1].test)]
    )
    rows = pd.Index(table["image_id"])
    path, own = files_of(root, "training")[3], people[1].training[3]
    expected = (own.mean(axis=0) - trials.mean(axis=0)) / trials.std(axis=0)
    found = dataset["response"].values[rows.get_loc(path.stem)]
    assert found == pytest.approx(expected.T, abs=1e-4)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_dictionaries_of_every_protocol_are_read(tmp_path, protocol):
    content = {"a": np.arange(6.0).reshape(2, 3), "names": ["Oz", "Pz"], "rate": 1000, "none": None}
    save_dictionary(tmp_path / "some.npy", content, protocol)
    found = read_pickled(tmp_path / "some.npy", what="a test")
    assert np.array_equal(found["a"], content["a"]) and found["names"] == ["Oz", "Pz"]
    assert (found["rate"], found["none"]) == (1000, None)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_that_would_run_something_is_refused(tmp_path, capsys):
    save_dictionary(tmp_path / "evil.npy", {"a": Evil()})
    with pytest.raises(DatasetError, match=r"evil\.npy: .*asks for builtins\.print"):
        read_pickled(tmp_path / "evil.npy", what="a test")
    assert capsys.readouterr().out == ""
    # The one function that protocol 2 names encodes nothing but bytes.
    path = tmp_path / "coded.npy"
    save_dictionary(path, {"a": np.arange(2.0)}, protocol=2)
    path.write_bytes(path.read_bytes().replace(b"latin1", b"rot_13"))
    with pytest.raises(DatasetError, match=r"coded\.npy: .*another kind than bytes need"):
        read_pickled(path, what="a test")
    np.save(tmp_path / "plain.npy", np.arange(3))
    with pytest.raises(DatasetError, match=r"plain\.npy: .*shape \(3,\)"):
        read_pickled(tmp_path / "plain.npy", what="a test")


KEY = "preprocessed_eeg_data"


def edit(root, partition, change, person=1):
    path = preprocessed(root, partition, person)
    content = read_pickled(path, what="epochs")
    save_dictionary(path, change(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {k: v for k, v in c.items() if k != "times"}, "lacks times; it holds"),
        (lambda c: c | {KEY: c[KEY][:-1]}, "holds 7 conditions"),
        (lambda c: c | {"ch_names": c["ch_names"][:-1]}, "5 channels × 100 times, ch_names 4"),
        (
            lambda c: c | {"preprocessed_eeg_data": c["preprocessed_eeg_data"][0]},
            "must be conditio",
        ),
    ],
)
def test_epochs_of_another_kind_are_named(tree, change, message):
    edit(tree, "training", change)
    with pytest.raises(DatasetError, match=f"preprocessed_eeg_training.npy: .*{message}"):
        responses(tree)


def test_partitions_of_different_people_are_told(tree):
    edit(tree, "test", lambda content: content | {"ch_names": [*reversed(content["ch_names"])]})
    with pytest.raises(DatasetError, match="its channels or times are not those of"):
        responses(tree)


def test_a_file_that_is_cut_short_is_named(tree):
    path = preprocessed(tree, "training")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DatasetError, match=r"preprocessed_eeg_training\.npy: cannot be read"):
        responses(tree)


def test_an_image_that_is_missing_or_too_many_would_shift_all_conditions(tree):
    gone = files_of(tree, "training")[2]
    content = gone.read_bytes()
    gone.unlink()
    with pytest.raises(DatasetError, match=f"lacks 1 of the 8 images .* e.g. {gone.name}"):
        stimuli(tree)
    gone.write_bytes(content)
    shutil.copy(gone, gone.with_name("bat1_99s.jpg"))
    with pytest.raises(
        DatasetError, match=r"its 9 images are not the 8 .* 1 more, e\.g\. bat1_99s"
    ):
        stimuli(tree)
    # Without the list of names the files of responses tell.
    (tree / "image_metadata.npy").unlink()
    with pytest.raises(DatasetError, match="holds 8 conditions, the folder of images 9 files"):
        responses(tree)


def test_what_is_missing_is_said_before_any_job(tree):
    assert things_eeg2.Adapter().check(ENTRY, Options(), tree) == []
    preprocessed(tree, "test", 2).unlink()
    shutil.rmtree(tree / "image_set" / "test_images")
    problems = "\n".join(things_eeg2.Adapter().check(ENTRY, Options(), tree))
    assert "test_images is missing; get training_images.zip" in problems
    assert "sub-02/preprocessed_eeg_test.npy is missing" in problems
    raw = "\n".join(things_eeg2.Adapter().check(ENTRY, Options(source="raw"), tree))
    assert "raw_data/sub-01 holds no session" in raw
    bad = ENTRY.model_copy(update={"subjects": ("things_eeg2-3",)})
    assert "ends in sub- and two digits" in things_eeg2.Adapter().check(bad, Options(), tree)[-1]


def test_the_inventory_lists_images_and_files_of_each_person(tree):
    preprocessed(tree, "training", 2).write_bytes(b"no array at all")
    found = take_inventory(ENTRY, tree)
    states = {(item.subject, item.path.rsplit("/", 1)[-1]): item.state for item in found.items}
    assert states["", "*.jpg"] == "there"
    assert states["things_eeg2-sub-01", "preprocessed_eeg_training.npy"] == "there"
    assert states["things_eeg2-sub-02", "preprocessed_eeg_training.npy"] == "unreadable"


# Recordings.

PLAIN = RawOptions(whiten=False, baseline=False)


def raw_responses(root, raw, **options):
    return responses(root, Options(source="raw", raw=raw, **options))


def test_raw_trials_are_those_of_the_events_without_target_trials(raw):
    root, sessions = raw
    table, dataset = raw_responses(root, PLAIN)
    check_responses(dataset, table)
    assert list(dataset["sensor"].values) == list(CHANNELS)
    assert dataset["time"].values == pytest.approx(TIMES)
    rows = pd.Index(table["image_id"])
    assert set(dataset["n_repeats"].values[dataset["test_image"].values]) == {6}
    assert set(dataset["n_repeats"].values[~dataset["test_image"].values]) == {4}
    picks = [CAP.index(name) for name in CHANNELS]
    for partition in ("training", "test"):
        for number, path in enumerate(files_of(root, partition), start=1):
            epochs = [
                samples[picks, onset - 200 : onset + 801]
                for session in (1, 2)
                for events, samples in [sessions[session, partition]]
                for onset in events[0, events[1] == number]
            ]
            expected = mne.filter.resample(np.mean(epochs, axis=0), down=10.01, npad="auto")
            found = dataset["response"].values[rows.get_loc(path.stem)].T
            # Edges of an epoch ring where it is resampled.
            assert found[:, 10:-10] == pytest.approx(expected[:, 10:-10], abs=0.05)


def test_the_baseline_is_that_of_each_trial(raw):
    root, sessions = raw
    without, subtracted = (
        raw_responses(root, RawOptions(whiten=False, baseline=baseline))[1]["response"].values
        for baseline in (False, True)
    )
    difference = (without - subtracted)[:, 10:-10]
    # The same at all times, but for what rings at the edges of an epoch.
    assert np.ptp(difference, axis=1).max() < 0.02
    table = stimuli(root)
    place = table["image_id"].tolist().index(files_of(root, "training")[0].stem)
    picks = [CAP.index(name) for name in CHANNELS]
    before = [
        samples[picks, onset - 200 : onset + 1].mean(axis=1)
        for session in (1, 2)
        for events, samples in [sessions[session, "training"]]
        for onset in events[0, events[1] == 1]
    ]
    assert difference[place].mean(axis=0) == pytest.approx(np.mean(before, axis=0), abs=0.02)


def test_whitened_noise_of_training_trials_has_the_identity_as_covariance():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((4, 4))
    condition = np.repeat(np.arange(200), 3)
    signal = 5 * rng.standard_normal((200, 7, 4))[condition]
    values = (signal + rng.standard_normal((600, 7, 4))) @ mixing
    whitener = noise_whitener(values, condition, where=None)
    white = (values @ whitener).reshape(200, 3, 7, 4)
    rest = (white - white.mean(axis=1, keepdims=True)).reshape(-1, 4)
    assert rest.T @ rest / (400 * 7) == pytest.approx(np.eye(4), abs=1e-8)
    assert whitener == pytest.approx(whitener.T)
    # A common reference takes a direction away: it stays out.
    referenced = values - values.mean(axis=2, keepdims=True)
    assert np.linalg.matrix_rank(noise_whitener(referenced, condition, where=None), tol=1e-6) == 3


def test_raw_channels_are_whitened_per_session_whichever_images_are_used(raw):
    both = raw_responses(raw[0], RawOptions())[1]
    test = raw_responses(raw[0], RawOptions(), partitions=("test",))[1]
    assert both.attrs["units"] == "whitened"
    at = both["response"].sel(image=both["test_image"].values).values
    assert at == pytest.approx(test["response"].values, abs=1e-5)
    plain = raw_responses(raw[0], RawOptions(whiten=False))[1]
    assert not np.allclose(plain["response"].values, both["response"].values, atol=0.1)


def test_repetitions_of_a_session_are_the_first_ones(raw):
    one = raw_responses(raw[0], RawOptions(whiten=False, training_repetitions=1))[1]
    assert set(one["n_repeats"].values[~one["test_image"].values]) == {2}
    with pytest.raises(DatasetError, match="no training image has two trials"):
        raw_responses(raw[0], RawOptions(training_repetitions=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"ch_types": ["eeg"] * len(c["ch_types"])}, "`stim` 0 times"),
        (lambda c: c | {"raw_eeg_data": c["raw_eeg_data"][:-1]}, "must be channels × samples"),
        (
            lambda c: (
                c | {"raw_eeg_data": c["raw_eeg_data"] * np.r_[[1.0] * len(CAP), 40][:, None]}
            ),
            "name conditions up to",
        ),
        (lambda c: c | {"ch_names": [*"abcdefg", "stim"]}, "no channel begins with 'O'"),
    ],
)
def test_recordings_of_another_kind_are_named(raw, tmp_path, change, message):
    shutil.copytree(raw[0], tmp_path / "tree")
    path = tmp_path / "tree" / "raw_data" / "sub-01" / "ses-02" / "raw_eeg_training.npy"
    save_dictionary(path, change(read_pickled(path, what="a recording")))
    with pytest.raises(DatasetError, match=f"ses-02/raw_eeg_training.npy: .*{message}"):
        raw_responses(tmp_path / "tree", RawOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"montage": "mine"}, "none of mne's"),
        ({"tmin": 0.2, "tmax": 0.1}, "must be before tmax"),
        ({"partitions": ("test", "test")}, "names one twice"),
        ({"raw": {"tmin": 0.0}}, "set baseline: false"),
        ({"raw": {"l_freq": 40, "h_freq": 10}}, "must be below h_freq"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options.model_validate(options)
