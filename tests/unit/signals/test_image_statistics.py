"""Image statistics: each level tells of a known image what it should, whoever computes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gradbrain.config import GradbrainError
from gradbrain.config.registries import Registries, validate
from gradbrain.config.schema import ModelEntry
from gradbrain.datasets.errors import ImageError
from gradbrain.models.crop import square_crop
from gradbrain.models.layers import list_layers
from gradbrain.models.preprocess import to_input
from gradbrain.signals import SignalError
from gradbrain.signals.image_statistics import (
    GRID,
    N_ORIENTATIONS,
    N_SCALES,
    WIDTHS,
    cell_means,
    colour_statistics,
    gabor_energies,
    gradient_histograms,
    image_statistics,
    luminance_statistics,
    orientations,
    relative_luminance,
)
from gradbrain.signals.layer_stores import LayerRequest
from gradbrain.signals.statistics_job import StatisticsJob, run_statistics
from gradbrain.store import open_features, read_table, write_table
from gradbrain.vocabulary.image_statistics import ALL_LEVELS, ARCHITECTURE, LEVELS

ROOT = Path(__file__).resolve().parents[3]
SIZE = 128
CYCLES = tuple(SIZE // 4 // 2**scale for scale in range(N_SCALES))


def grating(cycles: float, angle: float, *, contrast: float = 1.0, mean: float = 0.5) -> np.ndarray:
    """Sine grating in [0, 1] whose stripes follow each other in the direction of `angle`."""
    at = np.arange(SIZE) / SIZE
    along = np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None]
    return mean * (1.0 + contrast * np.sin(2 * np.pi * cycles * along))


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), colour, dtype=np.uint8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def entry(**changes: object) -> ModelEntry:
    settings = {
        "source": "statistics",
        "architecture": ARCHITECTURE,
        "weights": {"source": "none"},
        "input_size": SIZE,
        **changes,
    }
    return validate(ModelEntry, {"name": "statistics", **settings}, where="models.yaml")


def test_levels_are_those_of_the_registry_and_few_enough():
    found = image_statistics(noise(0))
    assert list(found) == [*LEVELS, ALL_LEVELS]
    assert {level: len(values) for level, values in found.items()} == WIDTHS
    assert WIDTHS[ALL_LEVELS] == 873
    assert list(list_layers(ARCHITECTURE)["layer"]) == list(LEVELS)
    assert [
        layer.name for layer in Registries([ROOT / "config"]).layers(ARCHITECTURE, where="")
    ] == list(LEVELS)


@pytest.mark.parametrize("size", [64, 96, 160, 224])
def test_the_number_of_features_does_not_depend_on_the_size(size):
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    assert {level: len(values) for level, values in image_statistics(image).items()} == WIDTHS


def test_luminance_of_greys_is_that_of_the_standard():
    # IEC 61966-2-1: sRGB 188/255 is the grey of half the light (.503).
    for level, expected in ((0, 0.0), (255, 1.0), (188, 0.50289)):
        mean, contrast, *local = image_statistics(plain((level,) * 3))["luminance"]
        assert mean == pytest.approx(expected, abs=1e-5)
        assert contrast == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_allclose(local, [mean] * GRID**2 + [0.0] * GRID**2, atol=1e-7)


def test_luminance_weighs_colours_as_the_standard_does():
    shares = [relative_luminance(plain(colour)[:1, :1] / 255)[0, 0] for colour in
              ((255, 0, 0), (0, 255, 0), (0, 0, 255))]  # fmt: skip
    np.testing.assert_allclose(shares, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("contrast", [0.1, 0.5, 1.0])
def test_contrast_of_a_sine_grating_is_analytic(contrast):
    found = luminance_statistics(grating(8, 0.0, contrast=contrast, mean=0.4))
    expected = contrast * 0.4 / np.sqrt(2)
    assert found[0] == pytest.approx(0.4)
    assert found[1] == pytest.approx(expected)
    # Two whole periods in each cell.
    np.testing.assert_allclose(found[2 + GRID**2 :], expected, rtol=1e-9)


def test_contrast_of_each_cell_is_its_own():
    image = np.full((SIZE, SIZE), 0.5)
    image[: SIZE // GRID, -SIZE // GRID :] = grating(8, 0.0)[: SIZE // GRID, -SIZE // GRID :]
    local = luminance_statistics(image)[2 + GRID**2 :].reshape(GRID, GRID)
    assert local[0, -1] == pytest.approx(0.5 / np.sqrt(2))
    local[0, -1] = 0.0
    np.testing.assert_allclose(local, 0.0, atol=1e-7)


@pytest.mark.parametrize(
    ("colour", "lab"),
    [
        # CIE 15 with white D65.
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_pure_colours_have_their_place_in_cielab(colour, lab):
    found = image_statistics(plain(colour))["colour"]
    np.testing.assert_allclose(found[:3], lab, atol=0.02)
    np.testing.assert_allclose(found[3:6], 0.0, atol=1e-9)
    np.testing.assert_allclose(found[7 : 7 + GRID**2], found[1])
    np.testing.assert_allclose(found[7 + GRID**2 :], found[2])


def test_colourfulness_is_that_of_hasler_and_suesstrunk():
    assert image_statistics(plain((90, 90, 90)))["colour"][6] == pytest.approx(0.0, abs=1e-9)
    # Half red, half green: rg = ±255, yb = 127.5; spread 255, offset 127.5.
    halves = plain((255, 0, 0))
    halves[:, SIZE // 2 :] = (0, 255, 0)
    assert image_statistics(halves)["colour"][6] == pytest.approx(255 + 0.3 * 127.5)


def test_colour_stands_in_the_cell_where_it_is():
    image = plain((128, 128, 128))
    image[-SIZE // GRID :, : SIZE // GRID] = (255, 0, 0)
    a_star = image_statistics(image)["colour"][7 : 7 + GRID**2].reshape(GRID, GRID)
    assert np.unravel_index(a_star.argmax(), a_star.shape) == (GRID - 1, 0)


@pytest.mark.parametrize("scale", range(N_SCALES))
@pytest.mark.parametrize("direction", range(N_ORIENTATIONS))
def test_gabor_energy_peaks_at_the_orientation_and_frequency_of_a_grating(scale, direction):
    energy = gabor_energies(grating(CYCLES[scale], orientations()[direction])).mean((2, 3))
    assert np.unravel_index(energy.argmax(), energy.shape) == (scale, direction)


def test_gabor_energy_is_linear_in_contrast_and_blind_to_phase_and_uniform_light():
    weak, strong = (gabor_energies(grating(16, 0.0, contrast=c)) for c in (0.2, 0.8))
    np.testing.assert_allclose(strong, 4 * weak, rtol=1e-9, atol=1e-12)
    # Away from the edges, where the mirrored image depends on the phase.
    inner = np.s_[1, 0, 1:-1, 1:-1]
    shifted = np.roll(grating(16, 0.0), 2, axis=1)
    np.testing.assert_allclose(
        gabor_energies(shifted)[inner], gabor_energies(grating(16, 0.0))[inner], rtol=0.01
    )
    assert np.abs(gabor_energies(np.full((SIZE, SIZE), 0.7))).max() < 1e-12


def test_gabor_energy_is_that_of_a_direct_convolution():
    from scipy.signal import convolve2d

    from gradbrain.signals.image_statistics import _energy, _filters

    image = np.random.default_rng(1).uniform(size=(32, 32))
    margin = _filters()[0].shape[0] // 2
    padded = np.pad(image, margin, mode="symmetric")
    for found, kernel in zip(_energy(image), _filters(), strict=True):
        np.testing.assert_allclose(
            found, np.abs(convolve2d(padded, kernel, mode="valid")), atol=1e-12
        )


@pytest.mark.parametrize("direction", range(N_ORIENTATIONS))
def test_gradients_of_a_grating_fall_into_the_bin_of_its_orientation(direction):
    # The middle of a bin; scikit-image counts from the rows, so the angle of a gradient is that of
    # arctan2(rows, columns).
    angle = (direction + 0.5) * np.pi / N_ORIENTATIONS
    histograms = gradient_histograms(grating(8, angle)).reshape(-1, N_ORIENTATIONS)
    assert (histograms.argmax(axis=1) == direction).all()


def test_cells_are_means_in_their_order():
    image = np.kron(np.arange(GRID**2).reshape(GRID, GRID), np.ones((8, 8)))
    np.testing.assert_array_equal(cell_means(image).ravel(), np.arange(GRID**2))


def test_a_turned_image_has_turned_colours_and_the_same_sums():
    image = noise(3)
    upright, turned = (
        colour_statistics(one / 255, np.stack([one[..., 0] / 2.55] * 3, -1))
        for one in (image, image[::-1])
    )
    np.testing.assert_allclose(upright[:7], turned[:7])
    cells = upright[7 : 7 + GRID**2].reshape(GRID, GRID)
    np.testing.assert_allclose(cells[::-1].ravel(), turned[7 : 7 + GRID**2])


# --- the job -------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path, tools):
    def job(table, folder="one", threads=1, levels=(*LEVELS, ALL_LEVELS)) -> StatisticsJob:
        stores = tuple(
            LayerRequest(level, 1.0, tmp_path / folder / f"{level}.zarr") for level in levels
        )
        taken = tools["signal_set"](tools["backprop"]("dino")).of_activation()
        return StatisticsJob(entry(input_size=64), taken, stores, table, "stimuli", "code", threads)

    return job


def features(job: StatisticsJob) -> dict[str, np.ndarray]:
    found = {}
    for level in job.levels:
        store = open_features(level.output)
        assert [signal.role for signal in store.signals] == ["activation"]
        found[level.name] = store.values(store.activation)
    return found


def test_stores_hold_the_activation_alone_of_every_image_in_order(tmp_path, tools, job):
    table = tools["stimuli"](tmp_path, "stimuli", 5, 1)
    run_statistics(job(table))
    found = features(job(table))
    for level in LEVELS:
        assert found[level].shape == (5, WIDTHS[level])
    np.testing.assert_array_equal(
        found[ALL_LEVELS], np.concatenate([found[level] for level in LEVELS], axis=1)
    )
    from gradbrain.datasets.images import load_image

    row = read_table(table, kind="stimuli").iloc[3]
    image = square_crop(load_image(row["loader"], row["locator"]), entry(input_size=64))
    np.testing.assert_array_equal(
        found["gabor"][3], image_statistics(image)["gabor"].astype(np.float32)
    )


def test_neither_threads_nor_blocks_nor_the_other_images_change_a_row(
    tmp_path, tools, job, monkeypatch
):
    table = tools["stimuli"](tmp_path, "stimuli", 7, 1)
    run_statistics(job(table))
    monkeypatch.setattr("gradbrain.signals.statistics_job.BLOCK", 3)
    run_statistics(job(table, "two", threads=3))
    half = read_table(table, kind="stimuli").iloc[[4, 1]].reset_index(drop=True)
    write_table(tmp_path / "half.parquet", half, kind="stimuli")
    run_statistics(job(tmp_path / "half.parquet", "three"))
    one, two, three = (features(job(table, name)) for name in ("one", "two", "three"))
    for level in one:
        np.testing.assert_array_equal(one[level], two[level])
        np.testing.assert_array_equal(one[level][[4, 1]], three[level])


def test_a_job_of_an_interrupted_run_starts_again(tmp_path, tools, job):
    table = tools["stimuli"](tmp_path, "stimuli", 3, 1)
    run_statistics(job(table))
    (tmp_path / "one" / "gabor.zarr").rename(tmp_path / "one" / ".gabor.zarr.finished")
    run_statistics(job(table))
    assert features(job(table))["gabor"].shape == (3, WIDTHS["gabor"])
    assert not (tmp_path / "one" / ".gabor.zarr.finished").exists()


def test_errors_name_the_image(tmp_path, tools, job):
    table = tools["stimuli"](tmp_path, "stimuli", 3, 1)
    rows = read_table(table, kind="stimuli")
    path = json.loads(rows["locator"][1])["path"]
    changed = rows.assign(content_sha256=["0" * 64] * 3)
    write_table(tmp_path / "changed.parquet", changed, kind="stimuli")
    with pytest.raises(SignalError, match=r"image 'stimuli_0' .*is not the one"):
        run_statistics(job(tmp_path / "changed.parquet"))
    twice = pd.concat([rows, rows.iloc[:1]], ignore_index=True)
    write_table(tmp_path / "twice.parquet", twice, kind="stimuli")
    with pytest.raises(SignalError, match="4 rows with 3 ids"):
        run_statistics(job(tmp_path / "twice.parquet"))
    with open(path, "wb") as file:
        file.write(b"no image")
    with pytest.raises(ImageError, match=path):
        run_statistics(job(table))
    with pytest.raises(
        SignalError, match=r"no level blocks\.1 of image statistics; there are lumi"
    ):
        run_statistics(job(table, levels=("blocks.1",)))


def test_a_network_and_statistics_see_the_same_part_of_an_image():
    image = np.random.default_rng(2).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    seen = entry(input_size=64, crop_pct=0.9)
    expected = to_input(image, seen).permute(1, 2, 0).mul(255).round().numpy()
    np.testing.assert_array_equal(square_crop(image, seen), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 100}, "a multiple of 32, 64 or more, found 100"),
        ({"input_size": 32}, "a multiple of 32, 64 or more, found 32"),
        ({"weights": {"source": "random"}}, "weights: {source: none}, found image_statistics and"),
        ({"architecture": "resnet18"}, "architecture: image_statistics"),
        ({"kwargs": {"a": 1}}, "kwargs, text_tower: are of networks"),
        ({"source": "timm", "architecture": "resnet18"}, "a network has some, found source: none"),
    ],
)
def test_an_entry_that_cannot_be_says_what_may_stand_there(changes, message):
    with pytest.raises(GradbrainError) as error:
        entry(**changes)
    assert message in str(error.value)
