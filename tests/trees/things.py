"""Small trees of THINGS-MEG and THINGS-fMRI in the layout and formats of their downloads.

File names, columns, containers, types, units and the bases of indices are the published ones; only
the numbers of images, sensors, voxels and trials are small. Every function returns what was
written, for tests to compare with.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from trees.ctf import write_ctf

#: Columns of sample_attributes_P<n>.csv, in their order.
TRIAL_COLUMNS = [
    "trial_type",
    "image_nr",
    "category_nr",
    "exemplar_nr",
    "test_image_nr",
    "things_category_nr",
    "things_image_nr",
    "things_exemplar_nr",
    "image_path",
    "onset",
    "image_on",
    "image_off",
    "responded",
    "key_id",
    "key_time",
    "RT",
    "session_nr",
    "run_nr",
]
CONCEPTS = ("aardvark", "air_mattress", "bat1", "bat2", "coat_rack", "dog", "mango", "panda")
SENSORS = ("MLC11", "MLO11", "MLO23", "MLP31", "MRC22", "MRF43", "MRO12", "MRO33", "MRT21", "MZO01")
SERIAL = "-1609"
EPOCH_SAMPLES, EPOCH_RATE, EPOCH_START = 281, 200.0, -0.1
RAW_RATE = 1200.0


@dataclass(frozen=True)
class Picture:
    """An image of the database: its concept, its number in the database and its pixels."""

    name: str
    concept: str
    number: int
    colours: np.ndarray


def write_images(
    folder: Path, concepts: Sequence[str] = CONCEPTS, *, per_concept: int, edge: int = 64
) -> list[Picture]:
    """Write images as images_THINGS.zip unpacks: ``<concept>/<concept>_<nn><letter>.jpg``.

    An image is a 3 × 3 pattern of colours around one of its own, which an untrained network tells
    from others.
    """
    rng = np.random.default_rng(3)
    pictures = []
    for concept in concepts:
        (folder / concept).mkdir(parents=True, exist_ok=True)
        for exemplar in range(1, per_concept + 1):
            around = rng.integers(40, 216, 3) + rng.integers(-40, 40, (3, 3, 3))
            colours = around.astype(np.uint8)
            name = f"{concept}_{exemplar:02d}{'b' if exemplar == 1 else 's'}.jpg"
            pattern = Image.fromarray(colours).resize((edge, edge), Image.Resampling.BICUBIC)
            pattern.save(folder / concept / name, quality=95)
            pictures.append(Picture(name, concept, len(pictures) + 1, colours / 255 - 0.5))
    return pictures


# --- THINGS-MEG --------------------------------------------------------------------------------


@dataclass(frozen=True)
class MegSubject:
    """What was written for one participant.

    Attributes
    ----------
    table
        The table of trials, catch trials included.
    epochs
        Shape ``(n_trials, n_sensors, 281)``, float32 as it lies in the file.
    """

    table: pd.DataFrame
    epochs: np.ndarray


def write_things_meg(
    root: Path,
    *,
    participants: Sequence[int] = (1, 2),
    concepts: Sequence[str] = CONCEPTS,
    exemplars: int = 2,
    n_test: int = 4,
    sessions: int = 3,
    sensors: Sequence[str] = SENSORS,
    signal: float = 1.0,
    split_size: str | int = "2GB",
) -> dict[int, MegSubject]:
    """Write images, tables of trials and preprocessed epochs of some participants.

    Each concept has `exemplars` images that are shown once; the first `n_test` concepts have one
    more, which is shown in every session. Responses follow the colours of the images; see
    :func:`responses_to`.
    """
    pictures = write_images(root / "object_images", concepts, per_concept=exemplars + 1)
    return {
        participant: _write_participant(
            root, participant, pictures, n_test, sessions, sensors, signal, split_size
        )
        for participant in participants
    }


def trial_table(
    pictures: Sequence[Picture], *, n_test: int, sessions: int, seed: int
) -> pd.DataFrame:
    """Make the table of a participant's trials: two runs a session, a catch trial in each."""
    rng = np.random.default_rng(seed)
    concepts = list(dict.fromkeys(picture.concept for picture in pictures))
    by_concept = {c: [p for p in pictures if p.concept == c] for c in concepts}
    exp = [picture for own in by_concept.values() for picture in own[:-1]]
    test = [by_concept[concept][-1] for concept in concepts[:n_test]]
    rows = []
    for session, part in enumerate(np.array_split(rng.permutation(len(exp)), sessions), start=1):
        shown = [("exp", exp[place]) for place in part] + [("test", picture) for picture in test]
        shown += [("catch", None), ("catch", None)]
        order = rng.permutation(len(shown))
        for run, trials in enumerate(np.array_split(order, 2), start=1):
            for place, trial in enumerate(trials):
                kind, picture = shown[trial]
                rows.append(
                    _trial(kind, picture, concepts, test, 2.5 + 1.5 * place)
                    | {"session_nr": session, "run_nr": run}
                )
    return pd.DataFrame(rows, columns=TRIAL_COLUMNS)


def _trial(
    kind: str,
    picture: Picture | None,
    concepts: Sequence[str],
    test: Sequence[Picture],
    onset: float,
) -> dict:
    times = {"onset": onset, "image_on": onset, "image_off": onset + 0.5, "responded": 0}
    unanswered = {"key_id": np.nan, "key_time": np.nan, "RT": np.nan}
    if picture is None:
        path = "images_catch_meg/catch001.jpg"
        return {"trial_type": kind, "image_path": path, **times, **unanswered, "image_nr": 9999.0}
    category = concepts.index(picture.concept) + 1
    folder = "images_test_meg" if kind == "test" else f"images_meg/{picture.concept}"
    return {
        "trial_type": kind,
        "image_nr": float(picture.number),
        "category_nr": category,
        "exemplar_nr": float(picture.number),
        "test_image_nr": test.index(picture) + 1 if kind == "test" else np.nan,
        "things_category_nr": float(category),
        "things_image_nr": float(picture.number),
        "things_exemplar_nr": float(picture.name.rsplit("_", 1)[1][:2]),
        "image_path": f"{folder}/{picture.name}",
        **times,
        **unanswered,
    }


def _write_participant(
    root: Path,
    participant: int,
    pictures: Sequence[Picture],
    n_test: int,
    sessions: int,
    sensors: Sequence[str],
    signal: float,
    split_size: str | int,
) -> MegSubject:
    import mne

    table = trial_table(pictures, n_test=n_test, sessions=sessions, seed=participant)
    path = root / "sourcedata" / f"sample_attributes_P{participant}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    times = EPOCH_START + np.arange(EPOCH_SAMPLES) / EPOCH_RATE
    data = responses_to(table, pictures, len(sensors), times, signal=signal, seed=participant)
    events = np.zeros((len(table), 3), dtype=int)
    events[:, 0] = 3000 + 1800 * np.arange(len(table))
    events[:, 2] = table["things_image_nr"].fillna(999999)
    epochs = mne.EpochsArray(
        data.astype(np.float64),
        ctf_info([name + SERIAL for name in sensors]),
        events,
        tmin=EPOCH_START,
        metadata=table,
        verbose="error",
    )
    path = root / "derivatives" / "preprocessed" / f"preprocessed_P{participant}-epo.fif"
    path.parent.mkdir(parents=True, exist_ok=True)
    epochs.save(path, split_size=split_size, overwrite=True, verbose="error")
    return MegSubject(table, data)


def ctf_info(names: Sequence[str]):
    """Measurement info of CTF gradiometers, filtered and sampled as the published epochs."""
    import mne
    from mne.io.constants import FIFF

    info = mne.create_info(list(names), EPOCH_RATE, "mag")
    with info._unlock():
        info["highpass"], info["lowpass"] = 0.1, 40.0
    for channel in info["chs"]:
        channel["coil_type"] = FIFF.FIFFV_COIL_CTF_GRAD
    return info


def responses_to(
    table: pd.DataFrame,
    pictures: Sequence[Picture],
    n_sensors: int,
    times: np.ndarray,
    *,
    signal: float,
    seed: int,
) -> np.ndarray:
    """Responses of sensors to mean colours: a bump at 0.1 to 0.2 s, plus noise of variance 1.

    Returns
    -------
    ndarray of float32, shape (n_trials, n_sensors, n_times)
    """
    rng = np.random.default_rng([7, seed])
    colours = {picture.name: picture.colours.mean(axis=(0, 1)) for picture in pictures}
    peaks = np.linspace(0.1, 0.2, n_sensors)
    course = np.exp(-((times - peaks[:, None]) ** 2) / (2 * 0.05**2))
    weights = rng.standard_normal((3, n_sensors))
    noise = rng.standard_normal((len(table), n_sensors, len(times)))
    data = noise
    for row, path in enumerate(table["image_path"]):
        colour = colours.get(path.rsplit("/", 1)[-1])
        if colour is not None:
            data[row] += signal * (colour @ weights)[:, None] * course
    return data.astype(np.float32)


@dataclass(frozen=True)
class RawRun:
    """What was written of one run: samples of triggers and events, and the recording."""

    triggers: np.ndarray
    events: np.ndarray
    data: np.ndarray


def write_raw_runs(
    root: Path,
    participant: int,
    table: pd.DataFrame,
    *,
    sensors: Sequence[str] = ("MLO11", "MLO23", "MRO11", "MRO12"),
    delay: float = 0.15,
    bump: float = 0.1,
    duration: float = 40.0,
) -> dict[tuple[int, int], RawRun]:
    """Write the recording and events of each run of a table of trials.

    Each image is followed by a bump of 1 pT, `bump` seconds after its event (0.1 s wide); the
    event follows its trigger by `delay` seconds. The trigger channel ends on 32.
    """
    rng = np.random.default_rng(participant)
    names = [name + SERIAL for name in sensors]
    written = {}
    for (session, run), trials in table.groupby(["session_nr", "run_nr"]):
        n_samples = int(duration * RAW_RATE)
        events = (RAW_RATE * (4 + 2.0 * np.arange(len(trials)))).astype(int)
        triggers = events - int(delay * RAW_RATE)
        time = np.arange(n_samples) / RAW_RATE
        data = 1e-14 * rng.standard_normal((len(names), n_samples))
        for event in events:
            data += 1e-12 * np.exp(-((time - event / RAW_RATE - bump) ** 2) / (2 * 0.1**2))
        channel = np.zeros(n_samples, dtype=int)
        for sample in triggers:
            channel[sample : sample + 20] = 64
        channel[-600:-580] = 32
        folder = root / f"sub-BIGMEG{participant}" / f"ses-{session:02d}" / "meg"
        stem = f"sub-BIGMEG{participant}_ses-{session:02d}_task-main_run-{run:02d}"
        write_ctf(folder / f"{stem}_meg.ds", names, data, channel, sfreq=RAW_RATE)
        pd.DataFrame(
            {
                "onset": events / RAW_RATE,
                "duration": 0.5,
                "trial_type": trials["trial_type"].to_numpy(),
                "things_category_nr": trials["things_category_nr"].to_numpy(),
                "value": trials["things_image_nr"].to_numpy(),
                "sample": events,
            }
        ).to_csv(folder / f"{stem}_events.tsv", sep="\t", index=False, na_rep="N/A")
        written[int(session), int(run)] = RawRun(triggers, events, data)
    return written


# --- THINGS-fMRI -------------------------------------------------------------------------------

REGION_COLUMNS = ["V1", "V2", "V3", "hV4", "lLOC", "rLOC", "lFFA", "rFFA", "lOFA", "rOFA"]
REGION_COLUMNS += ["lEBA", "rEBA", "lPPA", "rPPA", "IT", "glasser-V1"]


@dataclass(frozen=True)
class FmriSubject:
    """What was written for one subject: the tables, and the betas (voxel, trial), float64."""

    trials: pd.DataFrame
    voxels: pd.DataFrame
    betas: np.ndarray


def write_things_fmri(
    root: Path,
    *,
    subjects: Sequence[str] = ("01", "02"),
    concepts: Sequence[str] = CONCEPTS,
    exemplars: int = 2,
    n_test: int = 3,
    sessions: int = 3,
    shape: tuple[int, int, int] = (8, 6, 7),
) -> dict[str, FmriSubject]:
    """Write images, tables, responses and brain masks of some subjects."""
    pictures = write_images(root / "object_images", concepts, per_concept=exemplars + 1)
    return {
        subject: _write_fmri_subject(root, subject, pictures, n_test, sessions, shape)
        for subject in subjects
    }


def _write_fmri_subject(
    root: Path,
    subject: str,
    pictures: Sequence[Picture],
    n_test: int,
    sessions: int,
    shape: tuple[int, int, int],
) -> FmriSubject:
    import nibabel as nib

    rng = np.random.default_rng([11, int(subject)])
    trials = _fmri_trials(pictures, n_test, sessions, subject, rng)
    mask = np.zeros(shape, dtype=np.uint8)
    mask[1:-1, 1:-1, 1:-1] = 1
    index = np.argwhere(mask)
    voxels = _voxel_table(index, subject, rng)
    colours = {picture.name: picture.colours.ravel() for picture in pictures}
    features = np.stack([colours[name] for name in trials["stimulus"]])
    betas = rng.standard_normal((len(index), 27)) @ features.T
    betas += rng.standard_normal(betas.shape)
    folder = root / "derivatives" / "betas_csv"
    folder.mkdir(parents=True, exist_ok=True)
    trials.to_csv(folder / f"sub-{subject}_StimulusMetadata.csv", index=False)
    voxels.to_csv(folder / f"sub-{subject}_VoxelMetadata.csv", index=False)
    write_pandas_hdf(folder / f"sub-{subject}_ResponseData.h5", betas, np.arange(len(index)))
    masks = root / "derivatives" / "brainmasks"
    masks.mkdir(parents=True, exist_ok=True)
    affine = np.array([[2.0, 0, 0, -7.0], [0, 2.0, 0, -10.0], [0, 0, 2.0, 4.0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(mask, affine), masks / f"sub-{subject}_space-T1w_brainmask.nii.gz")
    return FmriSubject(trials, voxels, betas)


def _fmri_trials(
    pictures: Sequence[Picture],
    n_test: int,
    sessions: int,
    subject: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    concepts = list(dict.fromkeys(picture.concept for picture in pictures))
    last = [[p for p in pictures if p.concept == concept][-1] for concept in concepts]
    test = last[:n_test]
    train = [picture for picture in pictures if picture not in last]
    rows = []
    for session, part in enumerate(np.array_split(rng.permutation(len(train)), sessions), start=1):
        shown = [("train", train[place]) for place in part] + [("test", p) for p in test]
        for place in rng.permutation(len(shown)):
            kind, picture = shown[place]
            rows.append((kind, session, 1 + len(rows) % 2, picture.name, picture.concept))
    table = pd.DataFrame(rows, columns=["trial_type", "session", "run", "stimulus", "concept"])
    table.insert(3, "subject_id", int(subject))
    table.insert(4, "trial_id", np.arange(len(table)))
    return table


def _voxel_table(index: np.ndarray, subject: str, rng: np.random.Generator) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "voxel_id": np.arange(len(index)),
            "subject_id": int(subject),
            "voxel_x": index[:, 0],
            "voxel_y": index[:, 1],
            "voxel_z": index[:, 2],
            "nc_singletrial": rng.uniform(0, 40, len(index)),
            "nc_testset": 0.0,
            "splithalf_uncorrected": rng.uniform(-0.1, 0.4, len(index)),
            "splithalf_corrected": rng.uniform(-0.1, 0.4, len(index)),
            "prf-eccentricity": 0.0,
            "prf-polarangle": 0.0,
            "prf-rsquared": 0.0,
            "prf-size": 0.0,
        }
    )
    single = table["nc_singletrial"] / 100
    table["nc_testset"] = 100 * single / (single + (1 - single) / 12)
    for place, name in enumerate(REGION_COLUMNS):
        table[name] = (np.arange(len(index)) % (len(REGION_COLUMNS) + 3) == place).astype(int)
    table.loc[table["V1"] == 1, "glasser-V1"] = 1
    return table


def write_pandas_hdf(path: Path, betas: np.ndarray, voxel_id: np.ndarray) -> None:
    """Write what ``DataFrame.to_hdf(path, key="ResponseData")`` writes, without PyTables.

    The frame has a column ``voxel_id`` and a column per trial, named 0, 1, 2 …; pandas keeps the
    numbers in one block and the ids in another, and pickles names that it cannot map to a type.
    """
    import h5py

    n_voxels, n_trials = betas.shape
    with h5py.File(path, "w") as file:
        _describe(file, CLASS="GROUP", PYTABLES_FORMAT_VERSION="2.1", TITLE=" ", VERSION="1.0")
        group = file.create_group("ResponseData")
        _describe(group, CLASS="GROUP", TITLE=" ", VERSION="1.0", pandas_type="frame")
        _describe(group, encoding="UTF-8", errors="strict")
        group.attrs.update({"ndim": np.int64(2), "nblocks": np.int64(2)})
        _pickled(group, "axis0", np.array(["voxel_id", *range(n_trials)], dtype=object))
        group["axis1"] = np.arange(n_voxels)
        _pickled(group, "block0_items", np.array(list(range(n_trials)), dtype=object))
        group["block0_values"] = np.asarray(betas, dtype="<f8")
        group["block1_items"] = np.array([b"voxel_id"])
        group["block1_values"] = np.asarray(voxel_id, dtype="<i8")[:, None]
        kinds = {"axis0": "object", "axis1": "integer"}
        kinds |= {"block0_items": "object", "block1_items": "string"}
        for name, kind in kinds.items():
            _describe(group[name], kind=kind, name="N.")
            _describe(group, **{f"{name}_variety": "regular"})
        for name in ("axis1", "block0_values", "block1_items", "block1_values"):
            _describe(group[name], CLASS="ARRAY", FLAVOR="numpy", TITLE=" ", VERSION="2.4")
            group[name].attrs["transposed"] = np.uint8(1)


def _describe(node, **texts: str) -> None:
    """Set attributes as PyTables does: text of fixed length in UTF-8."""
    import h5py

    for name, text in texts.items():
        encoded = text.encode()
        node.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))


def _pickled(group, name: str, labels: np.ndarray) -> None:
    """Write labels that have no type of their own, as PyTables pickles them."""
    import h5py

    data = group.create_dataset(
        name, (1,), dtype=h5py.vlen_dtype(np.uint8), maxshape=(None,), chunks=(64,)
    )
    data[0] = np.frombuffer(pickle.dumps(labels), dtype=np.uint8)
    _describe(data, CLASS="VLARRAY", PSEUDOATOM="object", TITLE=" ", VERSION="1.4")
    data.attrs["transposed"] = np.uint8(1)
