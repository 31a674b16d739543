"""Claims about where responses lie: cortical areas, sensors, distances."""

import numpy as np
import pandas as pd
import pytest

from gradbrain.datasets.cortex import AREA_POSITIONS, area_vertices, pial_coordinates
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.responses import region_distances
from gradbrain.datasets.sensors import (
    FORMER_MONTAGES,
    MONTAGES,
    montage_places,
    place_by_name,
    sensor_layout,
    smooth_patterns,
    spread_evenly,
)


def test_areas_are_real_vertices_with_their_coordinates():
    vertices = area_vertices()
    assert len(vertices) == 2 * 20 * len(AREA_POSITIONS)
    for hemisphere, own in vertices.groupby("hemisphere"):
        assert own["vertex"].is_unique
        np.testing.assert_array_equal(
            own[["x", "y", "z"]], pial_coordinates(hemisphere)[own["vertex"]]
        )
        assert ((own["x"] < 0) == (hemisphere == "left")).all()


def test_distance_from_v1_grows_along_the_hierarchy_in_each_hemisphere():
    vertices = area_vertices()
    for hemisphere in ("left", "right"):
        own = vertices[vertices["hemisphere"] == hemisphere]
        distances = list(region_distances(own, "V1").values())
        assert distances[0] == 0
        assert (np.diff(distances) > 0).all()


def test_vertices_lie_near_the_position_of_their_area():
    for row in area_vertices().itertuples():
        x, y, z = AREA_POSITIONS[row.roi]
        sign = -1 if row.hemisphere == "left" else 1
        # Twenty neighbours on a surface with 4 mm between vertices reach about 10 mm.
        assert np.linalg.norm([row.x - sign * x, row.y - y, row.z - z]) < 14


def test_a_subset_of_areas_keeps_the_order_asked_for():
    assert list(area_vertices(("V1", "FFA"))["roi"].unique()) == ["V1", "FFA"]


@pytest.mark.parametrize(
    ("areas", "per_hemisphere", "message"),
    [
        (("V1", "V9"), 20, "distinct names out of"),
        (("V1", "V1"), 20, "distinct names out of"),
        (tuple(AREA_POSITIONS), 9000, "9000 vertices per hemisphere asked"),
    ],
)
def test_areas_that_do_not_exist_are_refused(areas, per_hemisphere, message):
    with pytest.raises(DatasetError, match=message):
        area_vertices(areas, per_hemisphere=per_hemisphere)


def test_distances_are_between_centroids_within_hemispheres():
    targets = pd.DataFrame(
        {
            "roi": ["V1", "V1", "IT", "V1", "IT", ""],
            "hemisphere": ["left", "left", "left", "right", "right", "left"],
            "x": [-1.0, -3.0, -2.0, 5.0, 5.0, 99.0],
            "y": [0.0, 0.0, 3.0, 0.0, 0.0, 99.0],
            "z": [0.0, 0.0, 4.0, 0.0, 1.0, 99.0],
        }
    )
    # Left: 5 mm from the centroid (-2, 0, 0); right: 1 mm.
    assert region_distances(targets, "V1") == {"V1": 0.0, "IT": 3.0}


def test_distances_need_the_reference_region():
    targets = pd.DataFrame(
        {"roi": ["IT"], "hemisphere": ["left"], "x": [0.0], "y": [0.0], "z": [0.0]}
    )
    with pytest.raises(DatasetError, match="'V1' has no targets"):
        region_distances(targets, "V1")


def test_the_layout_is_real_and_scaled():
    layout = sensor_layout("Vectorview-mag")
    assert len(layout) == 102
    assert layout["sensor"].is_unique
    radius = np.linalg.norm(layout[["sensor_x", "sensor_y"]], axis=1)
    assert radius.max() == pytest.approx(1)


def test_a_subset_of_sensors_is_spread_over_the_whole_layout():
    whole, part = sensor_layout("Vectorview-mag"), sensor_layout("Vectorview-mag", n_sensors=30)
    assert len(part) == 30
    assert set(part["sensor"]) < set(whole["sensor"])
    for axis in ("sensor_x", "sensor_y"):
        assert np.ptp(part[axis]) > 0.9 * np.ptp(whole[axis])


def test_farthest_points_of_a_line_are_its_ends():
    points = np.arange(9.0)[:, None]
    assert list(spread_evenly(points, 3)) == [0, 4, 8]


def test_unknown_layouts_and_too_many_sensors_are_refused():
    with pytest.raises(DatasetError, match="layout 'Nowhere-7'"):
        sensor_layout("Nowhere-7")
    with pytest.raises(DatasetError, match="103 asked, the layout 'Vectorview-mag' has 102"):
        sensor_layout("Vectorview-mag", n_sensors=103)


def test_patterns_have_unit_power_and_are_alike_at_neighbouring_sensors():
    layout = sensor_layout("Vectorview-mag")
    positions = layout[["sensor_x", "sensor_y"]].to_numpy()
    rng = np.random.default_rng(0)
    patterns = smooth_patterns(positions, 200, length=0.4, rng=rng)
    assert (patterns**2).sum(axis=0).mean() == pytest.approx(1)
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    alike = np.corrcoef(patterns.T)
    near = (distance > 0) & (distance < 0.2)
    assert alike[near].mean() > 0.8
    assert abs(alike[distance > 1.5].mean()) < 0.1


def electrode(montage, name):
    places = montage_places(montage).set_index("sensor")
    return places.loc[name, ["sensor_x", "sensor_y"]].to_numpy(dtype=float)


@pytest.mark.parametrize("montage", ["standard_1020", "standard_1005", "biosemi64", "easycap-M1"])
def test_electrodes_lie_where_their_names_say(montage):
    (x, y), (front_x, front_y) = electrode(montage, "Oz"), electrode(montage, "Fp1")
    assert abs(x) < 0.05  # in the middle of the back
    assert y < -0.5
    assert front_x < -0.1  # front left
    assert front_y > 0.5
    left, right = electrode(montage, "C3"), electrode(montage, "C4")
    assert left[0] < -0.2 < 0.2 < right[0]
    assert abs(left[1] - right[1]) < 0.05
    assert np.linalg.norm(electrode(montage, "Cz")) < 0.3


@pytest.mark.parametrize("montage", MONTAGES)
def test_every_montage_has_a_flat_layout_on_the_unit_disc(montage):
    places = montage_places(montage)
    assert places["sensor"].is_unique
    flat = places[["sensor_x", "sensor_y"]].to_numpy()
    assert np.isfinite(flat).all()
    assert np.linalg.norm(flat, axis=1).max() == pytest.approx(1)
    np.testing.assert_allclose(flat.min(axis=0), -flat.max(axis=0), atol=1e-12)


def test_the_montages_are_those_of_mne_and_keep_their_former_names():
    import mne

    known = mne.channels.get_builtin_montages()
    assert set(known) == set(MONTAGES) - set(FORMER_MONTAGES)
    assert set(FORMER_MONTAGES.values()) <= set(known)
    pd.testing.assert_frame_equal(montage_places("standard_1020"), montage_places("colin27_1020"))


def test_the_flat_layout_keeps_the_distance_from_the_vertex_along_the_scalp():
    # On mne's spherical montage these electrodes lie on one arc from Cz, 36 degrees apart.
    distance = [
        np.linalg.norm(electrode("spherical_1020", name) - electrode("spherical_1020", "Cz"))
        for name in ("Fz", "Fpz")
    ]
    assert distance[1] == pytest.approx(2 * distance[0], rel=0.02)


def test_two_names_of_one_electrode_have_one_place():
    np.testing.assert_array_equal(
        electrode("standard_1020", "T7"), electrode("standard_1020", "T3")
    )


KNOWN = pd.DataFrame(
    {"sensor": ["Cz", "Oz", "a1", "A1"], "sensor_x": [0.0, 0, 1, 2], "sensor_y": [0.0, -1, 0, 0]}
)


def test_capital_letters_matter_only_where_they_tell_sensors_apart():
    found = place_by_name(["OZ", "A1", "cz"], KNOWN, where="x.csv", what="montage 'm'")
    assert list(found["sensor"]) == ["OZ", "A1", "cz"]
    assert list(found["sensor_x"]) == [0, 2, 0]
    assert list(found["sensor_y"]) == [-1, 0, 0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["Cz", "Ozz"],
            r"x\.csv: montage 'm' has no place for 1 of 2 sensors, e\.g\. 'Ozz'; near "
            r"names are Oz",
        ),
        (["CZ", "cz"], r"x\.csv: names a sensor twice: 'Cz' of montage 'm'"),
    ],
)
def test_sensors_that_have_no_place_are_named(names, message):
    with pytest.raises(DatasetError, match=message):
        place_by_name(names, KNOWN, where="x.csv", what="montage 'm'")


def test_a_name_that_could_be_either_of_two_is_refused():
    known = pd.concat([KNOWN, KNOWN.tail(1).assign(sensor="B1"), KNOWN.tail(1).assign(sensor="b1")])
    assert list(place_by_name(["b1"], known, where="x", what="m")["sensor"]) == ["b1"]
    either = known.replace("A1", "aa1").replace("a1", "AA1")
    with pytest.raises(DatasetError, match="sensor 'Aa1' may be any of AA1, aa1 of m"):
        place_by_name(["Aa1"], either, where="x", what="m")
