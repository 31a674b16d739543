"""Visual areas on the cortical surface fsaverage5, as nilearn's package carries it.

The surface is FreeSurfer's average of 40 people with 10,242 vertices per hemisphere; its pial
coordinates are MNI305, in mm (Fischl et al. 1999, Human Brain Mapping 8:272). It is read from
nilearn's folder directly: importing nilearn costs seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.images import package_file

HEMISPHERES = ("left", "right")
REFERENCE_AREA = "V1"
EARLY_AREAS = ("V1", "V2", "V3")
HIGH_AREAS = ("LO", "PHC", "FFA")

# Where each area is looked for in the right hemisphere (mm; the left is its mirror image), in
# the order of the ventral hierarchy. These are our own placements, rounded to whole mm: V1 in the
# calcarine sulcus, V2 and V3 on the lingual gyrus below it, hV4 and VO on the posterior fusiform
# gyrus and in the collateral sulcus, LO behind the inferior temporal sulcus, PHC in the anterior
# collateral sulcus, FFA on the mid-fusiform gyrus (neighbourhood as in the atlases of Wang et al.
# 2015, Cerebral Cortex 25:3911, and Rosenke et al. 2021, Cerebral Cortex 31:603). The simulation
# needs plausible places whose distance from V1 grows along the hierarchy, not exact ones.
AREA_POSITIONS: dict[str, tuple[int, int, int]] = {
    "V1": (11, -86, 0),
    "V2": (12, -77, -9),
    "V3": (22, -79, -12),
    "hV4": (30, -76, -15),
    "VO": (28, -63, -11),
    "LO": (44, -74, -3),
    "PHC": (27, -45, -11),
    "FFA": (41, -47, -20),
}


@lru_cache(maxsize=2)
def pial_coordinates(hemisphere: str) -> np.ndarray:
    """Read the pial surface of fsaverage5.

    Returns
    -------
    ndarray of float64, shape (10242, 3)
        x (right), y (anterior), z (superior) in mm, MNI305.
    """
    import nibabel

    path = package_file("nilearn", f"datasets/data/fsaverage5/pial_{hemisphere}.gii.gz")
    surface = nibabel.gifti.GiftiImage.from_filename(path)
    return np.asarray(surface.agg_data("pointset"), dtype=np.float64)


def area_vertices(
    areas: Sequence[str] = tuple(AREA_POSITIONS), *, per_hemisphere: int = 20
) -> pd.DataFrame:
    """Choose the vertices of visual areas: the nearest to each area's position.

    A vertex belongs to the area whose position is nearest, so that areas do not share vertices.

    Parameters
    ----------
    areas
        Names from `AREA_POSITIONS`.
    per_hemisphere
        Vertices of each area in each hemisphere.

    Returns
    -------
    DataFrame
        One row per vertex: ``roi``, ``hemisphere``, ``vertex`` (index within the hemisphere),
        ``x``, ``y``, ``z`` (mm, MNI305); sorted by area, hemisphere and vertex.

    Raises
    ------
    DatasetError
        An area is unknown or named twice, or has too few vertices around its position.
    """
    unknown = [area for area in areas if area not in AREA_POSITIONS]
    if unknown or len(set(areas)) != len(areas):
        raise DatasetError(
            f"regions {list(areas)}: expected distinct names out of {', '.join(AREA_POSITIONS)}"
        )
    tables = []
    for hemisphere in HEMISPHERES:
        coordinates = pial_coordinates(hemisphere)
        mirror = np.array([-1 if hemisphere == "left" else 1, 1, 1])
        positions = np.array([AREA_POSITIONS[area] for area in areas]) * mirror
        distances = np.linalg.norm(coordinates[:, None] - positions[None], axis=2)
        nearest = distances.argmin(axis=1)
        for index, area in enumerate(areas):
            own = np.flatnonzero(nearest == index)
            if len(own) < per_hemisphere:
                raise DatasetError(
                    f"region {area!r}: {per_hemisphere} vertices per hemisphere asked, "
                    f"{len(own)} of fsaverage5 lie nearest to it; ask for fewer"
                )
            order = np.argsort(distances[own, index], kind="stable")[:per_hemisphere]
            vertices = np.sort(own[order])
            x, y, z = coordinates[vertices].T
            tables.append(
                pd.DataFrame(
                    {
                        "roi": area,
                        "hemisphere": hemisphere,
                        "vertex": vertices,
                        "x": x,
                        "y": y,
                        "z": z,
                    }
                )
            )
    frame = pd.concat(tables, ignore_index=True)
    rank = frame["roi"].map({area: index for index, area in enumerate(areas)})
    return (
        frame.assign(rank=rank)
        .sort_values(["rank", "hemisphere", "vertex"], ignore_index=True)
        .drop(columns="rank")
    )
