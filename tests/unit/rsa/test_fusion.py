"""Claims about fusion by similarity: it finds what is planted, and equals a direct computation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from gradbrain.config.schema import RsaSettings
from gradbrain.figures import fusion as figure
from gradbrain.figures.names import Names
from gradbrain.rsa import fusion
from gradbrain.rsa.errors import RsaError
from gradbrain.rsa.fusion import commonality, fuse, items_of
from gradbrain.store import open_store, write_store

N_CONCEPTS, PER_CONCEPT, N_TEST = 14, 3, 6
SETTINGS = RsaSettings(n_draws=30)
IDS = [f"i{number:02d}" for number in range(N_CONCEPTS * PER_CONCEPT + N_TEST)]
GROUPS = [f"c{number // PER_CONCEPT:02d}" for number in range(len(IDS) - N_TEST)]
GROUPS += [f"t{number}" for number in range(N_TEST)]
TEST = np.arange(len(IDS)) >= len(IDS) - N_TEST
TIMES = np.array([-0.1, 0.0, 0.1, 0.2])


def planted(seed, width=20):
    """Patterns of images that share their group's."""
    rng = np.random.default_rng(seed)
    of_group = {group: rng.standard_normal(width) for group in dict.fromkeys(GROUPS)}
    return np.stack([of_group[group] for group in GROUPS])


EARLY, LATE = planted(1), planted(2)


def attributes(axis, subject):
    return {
        "dataset": f"some_{axis}", "subject": subject,
        "modality": "fmri" if axis == "roi" else "meg",
        "axis": axis, "sensors": "", "units": "", "space": "voxels", "rotation_invariant": False,
        "roi_order": ["V1", "IT"] if axis == "roi" else [], "early_rois": [], "high_rois": [],
        "onset_s": 0.0, "n_masked_targets": 0, "licence": "", "citation": "", "preprocessing": "",
    }  # fmt: skip


def noisy(patterns, rng, noise, width=30):
    mixed = patterns @ rng.standard_normal((patterns.shape[1], width))
    return mixed + noise * mixed.std() * rng.standard_normal(mixed.shape)


def images(order):
    return {
        "image_id": ("image", np.array(IDS)[order]),
        "group": ("image", np.array(GROUPS)[order]),
        "n_repeats": ("image", np.ones(len(order), dtype=np.int64)),
        "test_image": ("image", TEST[order]),
    }


def write_space(path, seed, noise=0.5, order=None):
    import xarray as xr

    rng = np.random.default_rng(seed)
    order = np.arange(len(IDS)) if order is None else order
    values = np.concatenate([noisy(EARLY, rng, noise), noisy(LATE, rng, noise)], axis=1)[order]
    data = xr.Dataset(
        {
            "response": (("image", "target"), values.astype(np.float32)),
            "noise_ceiling": ("target", np.full(60, 0.5, dtype=np.float32)),
        },
        coords={**images(order), "roi": ("target", np.repeat(["V1", "IT"], 30))},
        attrs=attributes("roi", path.stem),
    )
    write_store(path, data, kind="responses")


def write_time(path, seed, noise=0.5, order=None):
    import xarray as xr

    rng = np.random.default_rng(seed)
    order = np.arange(len(IDS)) if order is None else order
    none = np.zeros_like(EARLY)
    moments = [noisy(none, rng, 0) + rng.standard_normal((len(IDS), 30)) for _ in range(2)]
    moments += [noisy(EARLY, rng, noise), noisy(LATE, rng, noise)]
    values = np.stack(moments, axis=1)[order]
    data = xr.Dataset(
        {
            "response": (("image", "time", "sensor"), values.astype(np.float32)),
            "noise_ceiling": (("time", "sensor"), np.full((4, 30), 0.5, dtype=np.float32)),
        },
        coords={
            **images(order),
            "time": ("time", TIMES),
            "sensor": ("sensor", [f"s{number}" for number in range(30)]),
        },
        attrs=attributes("time", path.stem),
    )
    write_store(path, data, kind="responses")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("fusion")
    space, time = ([root / f"{axis}-{n}.zarr" for n in range(3)] for axis in ("space", "time"))
    rng = np.random.default_rng(9)
    for number, (one, other) in enumerate(zip(space, time, strict=True)):
        order = rng.permutation(len(IDS))
        write_space(one, number, order=order)
        write_time(other, 10 + number, order=rng.permutation(len(IDS)))
    return space, time


@pytest.fixture
def layers(monkeypatch):
    """Two layers, whose patterns are those of early and of late responses, and a useless signal."""

    def ranked(features, image_ids, responses, average):
        rows = pd.Index(IDS).get_indexer(pd.Index(image_ids))
        rng = np.random.default_rng(3)
        useless = rng.standard_normal((len(IDS), 20))
        labels, ranks = [], []
        for layer, depth, signal, patterns in (
            ("first", 0.5, "activation", EARLY),
            ("last", 1.0, "activation", LATE),
            ("last", 1.0, "gradient", useless),
        ):
            own = average(patterns[rows])
            distances = fusion_distance(own)
            ranks.append(distances)
            labels.append(
                {
                    "model": "net", "layer": layer, "depth": depth, "layer_index": int(depth),
                    "signal": signal,
                    "role": "activation" if signal == "activation" else "learning",
                    "rule": "", "objective": "",
                }
            )  # fmt: skip
        return labels, np.stack(ranks, axis=1)

    monkeypatch.setattr(fusion, "model_ranks", ranked)


def fusion_distance(patterns):
    from gradbrain.rsa.dissimilarity import correlation_distance, standardised_ranks

    return standardised_ranks(correlation_distance(patterns)[0])


def test_each_region_joins_its_time_through_its_layer(people, layers):
    table = fuse([Path("features")], *people, SETTINGS, study="mine")
    own = table[(table["level"] == "concepts") & (table["signal"] == "activation")]
    rho = own.drop_duplicates(["roi", "time"]).pivot(index="roi", columns="time", values="rho")
    assert rho.loc["V1"].idxmax() == 0.1 and rho.loc["IT"].idxmax() == 0.2
    assert rho.loc["V1", 0.1] > 0.6 > 0.2 > abs(rho.loc["V1", -0.1])
    best = own.loc[own.groupby("roi")["common"].idxmax()].set_index("roi")
    assert list(best.loc[["V1", "IT"], "layer"]) == ["first", "last"]
    assert list(best.loc[["V1", "IT"], "time"]) == [0.1, 0.2]
    gradient = table[(table["level"] == "concepts") & (table["signal"] == "gradient")]
    assert gradient["common"].abs().max() < 0.05
    assert set(table["level"]) == {"concepts", "test_images"}
    counts = table.groupby("level")[["n_items", "n_images"]].first()
    assert list(counts.loc["concepts"]) == [N_CONCEPTS + N_TEST, len(IDS)]
    assert list(counts.loc["test_images"]) == [N_TEST, N_TEST]


def test_the_fusion_equals_a_direct_computation(people, layers):
    table = fuse([Path("features")], *people, SETTINGS, study="mine")
    own = table[(table["level"] == "concepts") & (table["signal"] == "activation")]

    def mean_ranks(paths, pick):
        ranks = []
        for path in paths:
            store = open_store(path, kind="responses")
            frame = pd.DataFrame(pick(store), index=store["group"].values).groupby(level=0).mean()
            distance = 1 - np.corrcoef(frame.to_numpy())
            pairs = pd.Series(distance[np.triu_indices(len(frame), 1)]).rank().to_numpy()
            ranks.append((pairs - pairs.mean()) / np.linalg.norm(pairs - pairs.mean()))
        return np.array(ranks)

    v1 = mean_ranks(people[0], lambda s: s["response"].values[:, s["roi"].values == "V1"])
    late = mean_ranks(people[1], lambda s: s["response"].values[:, 3])
    row = own[(own["roi"] == "V1") & (own["time"] == 0.2)].iloc[0]
    assert row["rho"] == pytest.approx(np.corrcoef(v1.mean(0), late.mean(0))[0, 1], abs=1e-4)

    def reliability(ranks):
        between = np.corrcoef(ranks)[np.triu_indices(3, 1)].mean()
        return 3 * between / (1 + 2 * between)

    expected = np.sqrt(reliability(v1) * reliability(late))
    assert row["ceiling"] == pytest.approx(expected, abs=1e-4)


def test_the_ceiling_bounds_what_more_noise_leaves(tmp_path, layers):
    found = {}
    for noise in (0.3, 3.0):
        space, time = ([tmp_path / f"{a}{noise}-{n}.zarr" for n in range(3)] for a in "st")
        for number in range(3):
            write_space(space[number], number, noise)
            write_time(time[number], 20 + number, noise)
        table = fuse([Path("f")], space, time, SETTINGS, study="mine")
        rows = table[
            (table["level"] == "concepts") & (table["roi"] == "V1") & (table["time"] == 0.1)
        ]
        found[noise] = rows.iloc[0]
    assert found[0.3]["ceiling"] > found[3.0]["ceiling"] + 0.1
    assert all(row["rho"] < row["ceiling"] + 0.1 for row in found.values())


def test_commonality_is_that_of_three_regressions():
    rng = np.random.default_rng(0)
    region, layer = rng.standard_normal((2, 400))
    time = 0.5 * region + 0.4 * layer + rng.standard_normal(400)
    layer = layer + 0.7 * region
    r = np.corrcoef([time, region, layer])
    design = np.stack([region - region.mean(), layer - layer.mean()], axis=1)
    centred = time - time.mean()
    together = np.linalg.lstsq(design, centred, rcond=None)[0]
    full = 1 - np.sum((centred - design @ together) ** 2) / np.sum(centred**2)
    expected = r[0, 1] ** 2 + r[0, 2] ** 2 - full
    found = commonality(r[0:1, 1:2], r[0:1, 2:3], r[1:2, 2:3])
    assert found.shape == (1, 1, 1) and found[0, 0, 0] == pytest.approx(expected)
    assert np.isnan(commonality(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))).all()


def test_permutations_keep_their_rate_where_nothing_is_shared(people, layers):
    table = fuse([Path("features")], *people, RsaSettings(n_draws=99), study="mine")
    before = table[(table["time"] < 0.05) & (table["level"] == "concepts")]
    assert before["p"].min() > 0.01
    rank = spearmanr(before["rho"], before["p"]).statistic
    assert rank < 0


def test_too_few_images_and_a_wrong_axis_are_refused(people, layers):
    with pytest.raises(RsaError, match="lies along 'time', expected 'roi'"):
        fuse([Path("f")], people[1], people[1], SETTINGS, study="mine")
    stores = [open_store(path, kind="responses") for path in (*people[0], *people[1])]
    few = [store.isel(image=store["image_id"].values < "i06") for store in stores]
    assert items_of(few, 0) == []
    untested = [store.drop_vars("test_image") for store in stores]
    assert [items.level for items in items_of(untested, 0)] == ["concepts"]


def test_the_figure_has_a_panel_for_each_region_and_signal(people, layers):
    table = fuse([Path("features")], *people, SETTINGS, study="mine")
    data = table[figure.COLUMNS]
    drawn = figure.figure(data, Names())
    panels = [ax for part in drawn.subfigs for ax in part.axes if ax.get_title() in ("V1", "IT")]
    assert len(panels) == 4
    ax = next(ax for ax in panels if ax.get_title() == "IT")
    colours = {
        line.get_color() if isinstance(line.get_color(), str) else "depth" for line in ax.lines
    }
    assert "depth" in colours
