"""Claims about the adapter of THINGS-MEG: values arrive where they should, faults are named."""

import shutil

import mne
import numpy as np
import pandas as pd
import pytest
from trees.ctf import write_ctf
from trees.modalities import MODALITIES
from trees.things import CONCEPTS, EPOCH_RATE, SENSORS, write_raw_runs, write_things_meg

from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets import things_meg
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.inventory import take_inventory
from gradbrain.datasets.noise_ceiling import average_repeats
from gradbrain.datasets.responses import check_responses
from gradbrain.datasets.sensors import sensor_layout
from gradbrain.datasets.things_meg import Options, read_trials
from gradbrain.datasets.things_meg_preprocessed import average_around, thin
from gradbrain.datasets.things_meg_raw import DROPOUTS, RawOptions, filtered, open_recording

ENTRY = DatasetEntry(
    name="things_meg",
    adapter="things_meg",
    modality=MODALITIES["meg"],
    subjects=("things_meg-P1", "things_meg-P2"),
    stimuli="things_meg",
    licence="CC0",
)
ALONE = ENTRY.model_copy(update={"subjects": ("things_meg-P1",)})
AS_PUBLISHED = Options(standardise=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("things_meg")
    return root, write_things_meg(root)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("things_meg_raw")
    subject = write_things_meg(root, participants=[1], concepts=CONCEPTS[:4], sessions=2)[1]
    return root, subject, write_raw_runs(root, 1, subject.table)


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree that a test may damage."""
    shutil.copytree(written[0], tmp_path / "tree")
    return tmp_path / "tree"


def stimuli(root, options=AS_PUBLISHED, entry=ENTRY, name="things_meg"):
    return things_meg.Adapter().stimuli(entry, options, name, root)


def responses(root, options=AS_PUBLISHED, subject="things_meg-P1"):
    table = stimuli(root, options, ALONE)
    return table, things_meg.Adapter().responses(ENTRY, options, subject, table, root, [])


def trials_of(subject, image):
    names = subject.table["image_path"].str.rsplit("/").str[-1]
    return np.flatnonzero(names == f"{image}.jpg")


def rewrite_table(root, change, participant=1):
    path = root / "sourcedata" / f"sample_attributes_P{participant}.csv"
    table = pd.read_csv(path)
    change(table)
    table.to_csv(path, index=False)


def test_every_value_of_the_epochs_arrives_at_its_image_time_and_sensor(written):
    root, subjects = written
    for number, subject in subjects.items():
        table, dataset = responses(root, subject=f"things_meg-P{number}")
        check_responses(dataset, table)
        assert dataset["response"].shape == (len(table), 281, len(SENSORS))
        assert list(dataset["sensor"].values) == list(SENSORS)
        for place, image in enumerate(table["image_id"]):
            expected = subject.epochs[trials_of(subject, image)].mean(axis=0).T
            assert dataset["response"].values[place] == pytest.approx(expected, abs=1e-5)


def test_times_count_from_the_onset_in_seconds(written):
    time = responses(written[0])[1]["time"].values
    assert time[[0, 20, -1]] == pytest.approx([-0.1, 0.0, 1.3], abs=1e-9)
    assert np.diff(time) == pytest.approx(1 / EPOCH_RATE)


def test_catch_trials_are_dropped_and_test_images_averaged(written):
    table, dataset = responses(written[0])
    assert not table["image_id"].str.startswith("catch").any()
    repeats = pd.Series(dataset["n_repeats"].values, index=table["image_id"])
    test = pd.Series(dataset["test_image"].values, index=table["image_id"])
    assert test.sum() == 4 and (repeats[test] == 3).all() and (repeats[~test] == 1).all()
    assert set(test.index[test]) == {f"{concept}_03s" for concept in CONCEPTS[:4]}


def test_folds_cannot_split_a_concept_unless_asked_to(written):
    by_concept = stimuli(written[0])
    assert set(by_concept["group"]) == set(CONCEPTS)
    by_image = stimuli(written[0], Options(group="image"))
    assert list(by_image["group"]) == list(by_image["image_id"])


def test_images_with_the_same_pixels_share_a_group(tree):
    images = tree / "object_images"
    shutil.copy(images / "bat1" / "bat1_02s.jpg", images / "bat2" / "bat2_01b.jpg")
    table = stimuli(tree).set_index("image_id")["group"]
    assert table["bat2_01b"] == table["bat1_02s"]
    assert table["bat2_02s"] == table["bat1_01b"]
    assert table["dog_01b"] != table["bat1_01b"]


@pytest.mark.parametrize("standardise", [True, False])
def test_ceilings_are_those_of_the_rows_and_come_from_the_repeats(tmp_path, standardise):
    subject = write_things_meg(tmp_path, participants=[1], n_test=8, sessions=12, signal=2.0)[1]
    options = Options(tmin=0.05, tmax=0.25, standardise=standardise)
    table, dataset = responses(tmp_path, options)
    test = table["image_id"][dataset["test_image"].values]
    repeats = np.stack([subject.epochs[trials_of(subject, image)] for image in test], axis=1)
    of_twelve = average_repeats(repeats[..., 30:71])[1].T
    snr = of_twelve / (1 - of_twelve) / 12
    expected = snr / (snr + np.mean(1 / dataset["n_repeats"].values))
    assert dataset["noise_ceiling"].values == pytest.approx(expected, abs=1e-4)
    # Twelve averaged trials tell more than the rows, of which two in three are single trials.
    assert 0.2 < dataset["noise_ceiling"].values.max() < of_twelve.max()


def test_without_repeats_there_is_no_ceiling(tmp_path):
    write_things_meg(tmp_path, participants=[1], sessions=1)
    dataset = responses(tmp_path)[1]
    assert np.isnan(dataset["noise_ceiling"].values).all()
    assert dataset["noise_ceiling"].attrs["missing_allowed"]


def test_standardised_responses_have_mean_0_and_variance_1_over_trials(written):
    root, subjects = written
    table, dataset = responses(root, Options())
    subject = subjects[1]
    shown = (subject.table["trial_type"] != "catch").to_numpy()
    trials = subject.epochs[shown].astype(np.float64)
    scored = (subject.epochs - trials.mean(axis=0)) / trials.std(axis=0)
    for place, image in enumerate(table["image_id"]):
        expected = scored[trials_of(subject, image)].mean(axis=0).T
        assert dataset["response"].values[place] == pytest.approx(expected, abs=1e-4)


def test_blocks_do_not_change_the_result(written):
    one = responses(written[0], Options(block_trials=1))[1]
    many = responses(written[0], Options(block_trials=1000))[1]
    assert one["response"].values == pytest.approx(many["response"].values, abs=1e-5)


def test_epochs_that_mne_split_into_parts_are_read_as_one(tmp_path):
    subject = write_things_meg(tmp_path, participants=[1, 2], exemplars=16, split_size=1_500_000)[1]
    folder = tmp_path / "derivatives" / "preprocessed"
    assert (folder / "preprocessed_P1-epo-1.fif").is_file()
    table, dataset = responses(tmp_path)
    last = int(np.flatnonzero(subject.table["trial_type"] == "exp")[-1])
    image = subject.table["image_path"].iloc[last].rsplit("/")[-1].removesuffix(".jpg")
    place = list(table["image_id"]).index(image)
    assert dataset["response"].values[place] == pytest.approx(subject.epochs[last].T, abs=1e-5)


def test_a_part_that_is_missing_among_others_is_named_before_any_job(tmp_path):
    write_things_meg(tmp_path, participants=[1], exemplars=24, split_size=1_500_000)
    folder = tmp_path / "derivatives" / "preprocessed"
    assert (folder / "preprocessed_P1-epo-3.fif").is_file()
    assert things_meg.Adapter().check(ALONE, Options(), tmp_path) == []
    (folder / "preprocessed_P1-epo-2.fif").unlink()
    [problem] = things_meg.Adapter().check(ALONE, Options(), tmp_path)
    assert problem.endswith("preprocessed_P1-epo-2.fif is missing")
    parts = [item for item in take_inventory(ALONE, tmp_path).items if item.path.endswith("*.fif")]
    assert [(item.state, item.n_missing) for item in parts] == [("missing", 1)]


def test_crop_and_decimation_keep_the_onset_and_average_around_it(written):
    root, subjects = written
    options = Options(standardise=False, tmin=-0.05, tmax=0.5, decimate=5, sensors=["MLO", "MRO"])
    table, dataset = responses(root, options)
    assert dataset["time"].values == pytest.approx(np.arange(-2, 21) * 0.025)
    assert list(dataset["sensor"].values) == ["MLO11", "MLO23", "MRO12", "MRO33"]
    image = table["image_id"].iloc[0]
    trials = subjects[1].epochs[trials_of(subjects[1], image)].mean(axis=0)
    at_onset = dataset["response"].sel(time=0.0, method="nearest").values[0]
    sensor = list(SENSORS).index("MLO11")
    assert at_onset[0] == pytest.approx(trials[sensor, 18:23].mean(), abs=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
def test_thinning_moves_nothing_in_time(factor):
    times = -0.1 + np.arange(281) / 200
    kept, time = thin(times, factor, tmin=None, tmax=None, where="test")
    ramp = average_around(times[None, None], kept, factor)
    assert ramp[0, :, 0] == pytest.approx(time, abs=1e-6)
    assert 0 in time


def test_thinning_removes_what_it_cannot_hold():
    times = -0.1 + np.arange(281) / 200
    kept, _ = thin(times, 8, tmin=None, tmax=None, where="test")
    # 25 Hz is the rate kept: without averaging it would look like a constant.
    fast = np.cos(2 * np.pi * 25 * times)
    assert np.abs(average_around(fast[None, None], kept, 8)).max() < 1e-6


def test_sensors_lie_where_the_layout_of_the_helmet_has_them(written):
    dataset = responses(written[0])[1]
    layout = sensor_layout("CTF-275")
    layout.index = layout["sensor"].str.partition("-")[0]
    assert dataset["sensor_x"].values == pytest.approx(layout.loc[list(SENSORS), "sensor_x"])
    occipital, frontal = (list(SENSORS).index(name) for name in ("MZO01", "MRF43"))
    assert dataset["sensor_y"].values[occipital] < dataset["sensor_y"].values[frontal]


def test_a_sensor_with_nan_is_left_out_and_counted(tree):
    path = tree / "derivatives" / "preprocessed" / "preprocessed_P1-epo.fif"
    epochs = mne.read_epochs(path, verbose="error")
    epochs._data[5, 3, 100] = np.nan
    epochs.save(path, overwrite=True, verbose="error")
    dataset = responses(tree, Options())[1]
    assert dataset.attrs["n_masked_targets"] == 1
    assert SENSORS[3] not in dataset["sensor"].values
    assert np.isfinite(dataset["response"].values).all()


# --- where the onset comes from ------------------------------------------------------------------


def test_the_onset_source_is_recorded(written):
    dataset = responses(written[0])[1]
    assert dataset.attrs["onset_source"] == "events.tsv"
    facts = things_meg.Adapter().provenance(
        ENTRY, AS_PUBLISHED, ENTRY.subjects[0], pd.DataFrame(), []
    )
    assert facts["onset_source"] == "events.tsv"


def test_preprocessed_epochs_know_no_trigger():
    with pytest.raises(ValueError, match="needs `source: raw`"):
        Options(onset="trigger")


def peak_of(root, onset):
    dataset = responses(root, Options(source="raw", onset=onset, standardise=False, tmax=1.0))[1]
    course = dataset["response"].mean(["image", "sensor"])
    return dataset, float(course["time"][course.values.argmax()])


def test_latencies_move_by_the_delay_between_trigger_and_event(raw):
    root, _, _ = raw
    events, after_event = peak_of(root, "events")
    triggers, after_trigger = peak_of(root, "trigger")
    # The bump comes 0.1 s after the event, which follows the trigger by 0.15 s.
    assert after_event == pytest.approx(0.1, abs=0.017)
    assert after_trigger == pytest.approx(0.25, abs=0.017)
    assert events.attrs["onset_source"] == "events.tsv"
    assert triggers.attrs["onset_source"] == "UPPT001"
    for dataset in (events, triggers):
        assert dataset.attrs["onset_difference_ms"] == pytest.approx(150)


def test_raw_recordings_are_cut_as_the_predecessor_did(raw):
    dataset = responses(raw[0], Options(source="raw"))[1]
    assert dataset["time"].values == pytest.approx(np.arange(-15, 91) / 30)
    assert list(dataset["sensor"].values) == ["MLO11", "MLO23", "MRO12"]
    assert dataset.attrs["n_masked_targets"] == 0


def test_raw_trials_hold_the_filtered_recording_at_their_samples(raw):
    root, subject, runs = raw
    options = Options(source="raw", standardise=False, tmin=0.0, tmax=0.5)
    table, dataset = responses(root, options)
    (session, number), run = next(iter(runs.items()))
    trials = subject.table.query(f"session_nr == {session} and run_nr == {number}")
    place_in_run = int(np.flatnonzero(trials["trial_type"] == "exp")[0])
    image = trials["image_path"].iloc[place_in_run].rsplit("/")[-1].removesuffix(".jpg")
    continuous = mne.filter.filter_data(
        np.round(run.data * 1e18) / 1e18, 1200.0, 0.1, 12.0, verbose="error"
    )
    samples = run.events[place_in_run] + 40 * np.arange(16)
    expected = continuous[[0, 1, 3]][:, samples].T
    found = dataset["response"].values[list(table["image_id"]).index(image)]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-18)


@pytest.mark.parametrize(("damaged", "verb"), [(0, "has"), (1, "lacks")])
def test_a_sensor_that_only_some_runs_have_is_named_and_may_be_left_out(
    raw, tmp_path, damaged, verb
):
    root, _, runs = raw
    shutil.copytree(root, tmp_path / "tree")
    first, second = sorted((tmp_path / "tree").glob("**/*_meg.ds"))[:2]
    recording, run = ((first, second)[damaged], list(runs.values())[damaged])
    shutil.rmtree(recording)
    names = [f"{name}-1609" for name in ("MLO11", "MRO11", "MRO12")]
    channel = np.zeros(run.data.shape[1], dtype=int)
    write_ctf(recording, names, run.data[[0, 2, 3]], channel, sfreq=1200.0)
    message = rf"{second.name}: {verb} the sensor\(s\) MLO23, which .*{first.name} "
    with pytest.raises(DatasetError, match=message):
        responses(tmp_path / "tree", Options(source="raw"))
    options = Options(source="raw", raw=RawOptions(drop_sensors=("MLO23", "MRO11")))
    dataset = responses(tmp_path / "tree", options)[1]
    assert list(dataset["sensor"].values) == ["MLO11", "MRO12"]


def test_without_antialias_trials_are_those_that_mne_filters_and_decimates(raw, caplog):
    root, subject, runs = raw
    plain = RawOptions(antialias=False)
    options = Options(source="raw", standardise=False, raw=plain)
    table, dataset = responses(root, options)
    assert dataset["time"].values == pytest.approx(np.arange(-15, 91) / 30)
    (session, number), run = next(iter(runs.items()))
    trials = subject.table.query(f"session_nr == {session} and run_nr == {number}")
    place_in_run = int(np.flatnonzero(trials["trial_type"] == "exp")[0])
    image = trials["image_path"].iloc[place_in_run].rsplit("/")[-1].removesuffix(".jpg")
    recording = mne.io.RawArray(
        np.round(run.data * 1e18) / 1e18, mne.create_info(4, 1200.0, "mag"), verbose="error"
    ).filter(0.1, 20.0, verbose="error")
    events = np.stack([run.events, 0 * run.events, 0 * run.events + 64], axis=1)
    epochs = mne.Epochs(
        recording, events, tmin=-0.5, tmax=3.0, baseline=None, decim=40, verbose="error"
    ).get_data(verbose="error")
    expected = epochs[place_in_run][[0, 1, 3]].T
    found = dataset["response"].values[list(table["image_id"]).index(image)]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-18)
    folded = "15-25 Hz (the filter's slope from 20 Hz on) seen at 5-15 Hz"
    assert folded in dataset.attrs["preprocessing"]
    (warned,) = [r.getMessage() for r in caplog.records if "antialias" in r.getMessage()]
    assert folded in warned


def test_a_tone_beyond_half_the_rate_kept_is_seen_only_without_antialias(tmp_path):
    write_ctf(
        tmp_path / "tone.ds",
        ["MLO11-1609"],
        1e-12 * np.cos(2 * np.pi * 18 * np.arange(24000) / 1200)[None],
        np.zeros(24000, dtype=int),
        sfreq=1200.0,
    )
    for plain, amplitude in [(RawOptions(antialias=False), 1e-12), (RawOptions(), 0.0)]:
        recording = open_recording(tmp_path / "tone.ds")
        kept = filtered(recording, ["MLO11"], plain, lapse=None, where=tmp_path)[0, 6000:18000:40]
        # 30 samples a second of 18 Hz are those of 12 Hz; 10 s hold 120 periods.
        power = np.abs(np.fft.rfft(kept)) / len(kept) * 2
        assert power[120] == pytest.approx(amplitude, abs=1e-14)
        assert bool(plain.folded) == (amplitude > 0)


def test_with_antialias_nothing_is_folded_at_any_rate():
    for sfreq in (5.0, 12.0, 30.0, 60.0, 100.0):
        options = RawOptions(sfreq=sfreq)
        assert options.upper_edge + options.slope <= sfreq / 2 + 1e-9
        assert options.folded == ""
    # A band that ends below half the rate may still have a slope that does not.
    assert RawOptions(antialias=False, h_freq=14.0).folded.startswith("15-17.5 Hz")
    assert RawOptions(antialias=False, h_freq=12.0).folded == ""


def test_a_lapse_of_the_sensors_is_filled_with_their_medians(raw, monkeypatch):
    root, _, runs = raw
    before = responses(root, Options(source="raw", standardise=False, tmax=0.5))[1]
    second = runs[1, 1].events[0] / 1200
    monkeypatch.setitem(DROPOUTS, (1, 1, 1), second)
    after = responses(root, Options(source="raw", standardise=False, tmax=0.5))[1]
    changed = np.abs(before["response"] - after["response"]).max(["image", "sensor"])
    assert changed.sel(time=0.1, method="nearest") > 1e-13
    assert changed.max() > 1e-13


def test_the_two_published_lapses_are_those_of_two_runs():
    # enumerate() counts runs from 0 in the published script: 4 and 2 are the fifth and the third.
    assert DROPOUTS == {(1, 11, 5): 13.4, (2, 10, 3): 59.8}


def test_rates_that_do_not_divide_the_recording_are_refused(raw):
    with pytest.raises(DatasetError, match=r"1200 Hz.*`raw.sfreq` = 70"):
        responses(raw[0], Options(source="raw", raw=RawOptions(sfreq=70)))


# --- faults --------------------------------------------------------------------------------------


def damage(tree, fault):
    attributes = tree / "sourcedata" / "sample_attributes_P1.csv"
    epochs = tree / "derivatives" / "preprocessed" / "preprocessed_P1-epo.fif"
    if fault == "other trial type":
        rewrite_table(tree, lambda t: t.__setitem__("trial_type", ["exp"] * len(t)))
    elif fault == "swapped rows":

        def swap(table):
            shown = np.flatnonzero(table["trial_type"] == "exp")[:2]
            table.iloc[shown] = table.iloc[shown[::-1]].to_numpy()

        rewrite_table(tree, swap)
    elif fault == "row missing":
        pd.read_csv(attributes).iloc[:-1].to_csv(attributes, index=False)
    elif fault == "column missing":
        pd.read_csv(attributes).drop(columns="run_nr").to_csv(attributes, index=False)
    elif fault == "unknown trial type":
        rewrite_table(tree, lambda t: t.loc.__setitem__((0, "trial_type"), "rest"))
    elif fault == "other participant":
        shutil.copy(epochs.with_name("preprocessed_P2-epo.fif"), epochs)
    elif fault == "cut short":
        epochs.write_bytes(epochs.read_bytes()[: epochs.stat().st_size // 2])
    elif fault == "no epochs file":
        epochs.write_text("not a FIF file")
    elif fault == "no metadata":
        loaded = mne.read_epochs(epochs, verbose="error")
        loaded.metadata = None
        loaded.save(epochs, overwrite=True, verbose="error")
    else:
        raise AssertionError(fault)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("swapped rows", r"disagree on '(trial_type|image_path)' in 2 of \d+ rows, first in row"),
        ("row missing", r"holds \d+ trials, the table of trials has \d+ rows"),
        ("column missing", r"sample_attributes_P1.csv: lacks the column\(s\) run_nr"),
        ("unknown trial type", r"trial_type holds rest; expected exp, test, catch"),
        ("other participant", r"preprocessed_P1-epo.fif: its metadata and the table .* disagree"),
        ("cut short", r"preprocessed_P1-epo.fif: .*cannot be read"),
        ("no epochs file", r"preprocessed_P1-epo.fif: cannot be read as epochs"),
        ("no metadata", r"preprocessed_P1-epo.fif: has no metadata attached"),
    ],
)
def test_faulty_trees_are_named_before_any_response_is_made(tree, fault, message):
    table = stimuli(tree)
    damage(tree, fault)
    with pytest.raises(DatasetError, match=message):
        things_meg.Adapter().responses(ENTRY, AS_PUBLISHED, "things_meg-P1", table, tree, [])


def test_numbers_written_differently_are_no_disagreement(tree):
    rewrite_table(tree, lambda t: t.__setitem__("session_nr", t["session_nr"].astype(float)))
    assert responses(tree)[1].sizes["image"] == 20


def test_missing_images_are_an_error_or_are_left_out(tree):
    (tree / "object_images" / "dog" / "dog_01b.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 20 images are missing.*dog_01b\.jpg"):
        stimuli(tree)
    options = Options(missing_images="drop")
    table, dataset = responses(tree, options)
    assert "dog_01b" not in set(table["image_id"]) and dataset.sizes["image"] == 19


def test_participants_who_saw_different_images_do_not_share_a_set(tree):
    def rename(table):
        table.loc[table["image_path"].str.endswith("dog_01b.jpg"), "image_path"] = "x/dog_03s.jpg"

    rewrite_table(tree, rename, participant=2)
    with pytest.raises(DatasetError, match="things_meg-P2 differ in 2 images"):
        stimuli(tree)
    alone = ENTRY.model_copy(update={"stimuli": None})
    assert "dog_03s" in set(stimuli(tree, entry=alone, name="things_meg-P2")["image_id"])


def test_one_participant_is_enough_for_the_images_of_all(tree):
    (tree / "sourcedata" / "sample_attributes_P1.csv").unlink()
    assert len(stimuli(tree)) == 20
    (tree / "sourcedata" / "sample_attributes_P2.csv").unlink()
    with pytest.raises(DatasetError, match=r"sample_attributes_P1.csv: cannot be read"):
        stimuli(tree)


def test_sensors_outside_the_layout_are_named(written):
    with pytest.raises(DatasetError, match=r"'Vectorview-mag'.*no place for 10 of 10.*'MLC11'"):
        responses(written[0], Options(layout="Vectorview-mag"))


def test_sensors_that_are_not_there_are_named(written):
    with pytest.raises(DatasetError, match=r"no sensor begins with 'EEG'"):
        responses(written[0], Options(sensors=["EEG"]))


def test_events_that_disagree_with_the_table_are_named(raw, tmp_path):
    shutil.copytree(raw[0], tmp_path / "tree")
    path = next((tmp_path / "tree").glob("sub-BIGMEG1/ses-02/meg/*_events.tsv"))
    events = pd.read_csv(path, sep="\t")
    events.loc[2, "value"] = 777
    events.to_csv(path, sep="\t", index=False, na_rep="N/A")
    with pytest.raises(DatasetError, match=r"column 'value' disagrees .* first in row 2"):
        responses(tmp_path / "tree", Options(source="raw"))


def test_missing_triggers_stop_only_those_who_ask_for_them(raw, tmp_path):
    shutil.copytree(raw[0], tmp_path / "tree")
    wrong = RawOptions(trigger_value=65)
    with pytest.raises(DatasetError, match=r"0 triggers of value 65 on UPPT001"):
        responses(tmp_path / "tree", Options(source="raw", onset="trigger", raw=wrong))
    dataset = responses(tmp_path / "tree", Options(source="raw", raw=wrong))[1]
    assert "onset_difference_ms" not in dataset.attrs


def test_missing_runs_and_damaged_recordings_are_named(raw, tmp_path):
    shutil.copytree(raw[0], tmp_path / "tree")
    meg = tmp_path / "tree" / "sub-BIGMEG1" / "ses-02" / "meg"
    data = next(meg.glob("*run-02_meg.ds")) / "sub-BIGMEG1_ses-02_task-main_run-02_meg.meg4"
    data.write_bytes(data.read_bytes()[:-4000])
    with pytest.raises(DatasetError, match=r"run-02_meg.ds: cannot be read as a CTF recording"):
        responses(tmp_path / "tree", Options(source="raw"))
    shutil.rmtree(data.parent)
    with pytest.raises(DatasetError, match=r"1 of 4 runs .* first session 2, run 2"):
        responses(tmp_path / "tree", Options(source="raw"))


def test_check_lists_every_missing_file(tree):
    assert things_meg.Adapter().check(ENTRY, AS_PUBLISHED, tree) == []
    shutil.rmtree(tree / "object_images")
    (tree / "sourcedata" / "sample_attributes_P2.csv").unlink()
    (tree / "derivatives" / "preprocessed" / "preprocessed_P1-epo.fif").unlink()
    entry = ENTRY.model_copy(update={"subjects": (*ENTRY.subjects, "things_meg-x")})
    found = "\n".join(things_meg.Adapter().check(entry, AS_PUBLISHED, tree))
    assert found.count("\n") == 3
    for name in ("object_images", "_P2.csv", "_P1-epo.fif", "'things_meg-x'"):
        assert name in found
    assert "holds no recordings" in "\n".join(
        things_meg.Adapter().check(ENTRY, Options(source="raw"), tree)
    )
    nowhere = things_meg.Adapter().check(ENTRY, AS_PUBLISHED, tree / "nowhere")
    assert len(nowhere) == 1 and "roots: {things_meg:" in nowhere[0]


def test_tables_name_each_column_as_published(written):
    table = read_trials(written[0] / "sourcedata" / "sample_attributes_P1.csv")
    assert len(table.columns) == 18 and table.columns[8] == "image_path"


def test_the_inventory_tells_what_is_there_and_what_cannot_be_read(tree):
    found = take_inventory(ENTRY, tree)
    assert {item.state for item in found.items} == {"there"}
    assert found.items[0].n_files == 20
    details = [item.detail for item in found.items]
    assert "16 exp, 12 test, 6 catch" in details
    assert "34 trials × 10 sensors × 281 samples" in details
    damage(tree, "no epochs file")
    (tree / "object_images" / "dog" / "dog_01b.jpg").unlink()
    found = take_inventory(ENTRY, tree)
    assert any("epo.fif: unreadable" in line for line in found.obstacles("things_meg-P1"))
    assert len(found.obstacles("things_meg-P2")) == 1
    assert "missing 1 of 20 files" in found.obstacles("things_meg-P2")[0]


def test_the_inventory_counts_raw_runs(raw):
    entry = ALONE.model_copy(update={"options": {"source": "raw"}})
    counted = [item.n_files for item in take_inventory(entry, raw[0]).items]
    assert counted == [12, 1, 4, 4]
