"""Ceilings of dissimilarities between subjects: known values, who takes part, what is refused."""

import numpy as np
import pytest
import xarray as xr
from compute_rdm_ceilings import main
from scipy.spatial.distance import pdist

from gradbrain.config.schema import EncodingSettings, RsaSettings
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.rdm_ceilings import rdm_ceilings
from gradbrain.encoding.splits import grouped_folds
from gradbrain.store import read_table, write_store
from gradbrain.vocabulary.artefacts import columns_of

N_IMAGES, TIMES, N_SENSORS = 45, np.array([-0.1, 0.1]), 12
IMAGE_IDS = np.array([f"image-{number:02d}" for number in range(N_IMAGES)])
GROUPS = np.array([f"photograph-{number % 15:02d}" for number in range(N_IMAGES)])
SETTINGS = EncodingSettings(n_folds=3, seed=3)
RSA = RsaSettings(encoding=True)


def write_meg(path, values, images=IMAGE_IDS):
    """Responses of shape (n_images, n_times, n_sensors)."""
    dataset = xr.Dataset(
        {"response": (("image", "time", "sensor"), values.astype(np.float32))},
        coords={
            "image_id": ("image", images),
            "group": ("image", GROUPS),
            "n_repeats": ("image", np.ones(N_IMAGES, dtype=int)),
            "time": ("time", TIMES),
            "sensor": ("sensor", [f"MEG{number}" for number in range(values.shape[2])]),
        },
        attrs={
            "dataset": "made",
            "subject": path.stem,
            "modality": "meg",
            "axis": "time",
            "sensors": "sensors",
            "space": "sensors",
            "rotation_invariant": False,
            "roi_order": [],
            "early_rois": [],
            "high_rois": [],
            "onset_s": 0.0,
        },
    )
    write_store(path, dataset, kind="responses")
    return path


def recording(seed, n_sensors=N_SENSORS):
    return np.random.default_rng(seed).standard_normal((N_IMAGES, len(TIMES), n_sensors))


def ceilings(*paths):
    table = rdm_ceilings(paths, SETTINGS, RSA, study="test")
    assert list(table.columns) == list(columns_of("rdm_ceilings"))
    return table


def test_subjects_who_are_alike_but_for_a_rotation_are_a_ceiling_of_one(tmp_path):
    values = recording(0)
    # The scaling of a fold is another for other targets, and with it the distances a little.
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((N_SENSORS, N_SENSORS)))[0]
    same = [write_meg(tmp_path / f"s{n}.zarr", scale * values) for n, scale in ((1, 1.0), (2, 7.0))]
    table = ceilings(*same)
    np.testing.assert_allclose(table[["ceiling_low", "ceiling_high"]], 1.0, atol=1e-6)
    turned = ceilings(same[0], write_meg(tmp_path / "s3.zarr", values @ turn))
    assert turned["ceiling_low"].min() > 0.8


def test_bounds_are_those_of_a_direct_computation(tmp_path):
    shared = recording(2)
    values = [shared + 0.7 * recording(3 + number) for number in range(3)]
    paths = [write_meg(tmp_path / f"s{n}.zarr", one) for n, one in enumerate(values)]
    table = ceilings(*paths).set_index(["subject", "time"])
    folds = grouped_folds(GROUPS, SETTINGS.n_folds, SETTINGS.seed)

    def distances(person, time, fold):
        own = values[person].astype(np.float32)[:, time].astype(float)
        scaled = own[folds == fold] / own[folds != fold].std(axis=0)
        found = pdist(scaled, "sqeuclidean")
        return (found - found.mean()) / found.std()

    for person in range(3):
        for place, time in enumerate(TIMES):
            low, high = [], []
            for fold in range(SETTINGS.n_folds):
                everyone = [distances(one, place, fold) for one in range(3)]
                others = [one for number, one in enumerate(everyone) if number != person]
                low.append(np.corrcoef(everyone[person], sum(others))[0, 1])
                high.append(np.corrcoef(everyone[person], sum(everyone))[0, 1])
            row = table.loc[(f"s{person}", time)]
            assert row["ceiling_low"] == pytest.approx(np.mean(low), abs=1e-5)
            assert row["ceiling_high"] == pytest.approx(np.mean(high), abs=1e-5)
            assert row["n_other_subjects"] == 2
    assert 0.2 < table["ceiling_low"].mean() < table["ceiling_high"].mean() < 1


def test_of_subjects_with_nothing_in_common_the_lower_bound_is_zero(tmp_path):
    table = ceilings(*(write_meg(tmp_path / f"s{n}.zarr", recording(10 + n)) for n in range(4)))
    assert abs(table["ceiling_low"].mean()) < 0.1
    # Its own dissimilarities are one of four that the mean is of: 1/√4.
    assert table["ceiling_high"].mean() == pytest.approx(0.5, abs=0.1)


def test_who_saw_other_images_has_no_part_and_is_named(tmp_path, caplog):
    paths = [write_meg(tmp_path / f"s{n}.zarr", recording(20 + n)) for n in range(2)]
    other = np.array([name.replace("image", "other") for name in IMAGE_IDS])
    paths.append(write_meg(tmp_path / "s9.zarr", recording(29), images=other))
    for order in (paths, paths[::-1]):
        assert set(ceilings(*order)["subject"]) == {"s0", "s1"}
    assert "s9 saw other images than all others" in caplog.text


def test_one_subject_alone_is_refused(tmp_path):
    with pytest.raises(EncodingError, match="responses of 1 subject"):
        ceilings(write_meg(tmp_path / "s0.zarr", recording(30)))


def test_the_script_writes_the_declared_table(tmp_path):
    paths = [write_meg(tmp_path / f"s{n}.zarr", recording(40 + n)) for n in range(2)]
    output = tmp_path / "ceilings.parquet"
    settings = ["--settings", SETTINGS.model_dump_json(), "--rsa", RSA.model_dump_json()]
    main(["--responses", *map(str, paths), *settings, "--study", "test", "--output", str(output)])
    written = read_table(output, kind="rdm_ceilings")
    np.testing.assert_allclose(written["ceiling_low"], ceilings(*paths)["ceiling_low"])
