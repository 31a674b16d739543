"""Claims about where responses lie: cortical areas, sensors, distances."""

import numpy as np
import pandas as pd
import pytest

from gradbrain.datasets.cortex import AREA_POSITIONS, area_vertices, pial_coordinates
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.responses import region_distances
from gradbrain.datasets.sensors import sensor_layout, smooth_patterns, spread_evenly


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
