"""Pictures of the inflated cortex: which vertex each pixel shows, worked out once for each view.

A pixel has the colour of the vertex whose part of the surface it shows: of the triangle that it
lies in, the nearest corner. No colour is a mean of several vertices, so that one without a value is
seen as one, and of a map without three in ten vertices three tenths of the surface are bare.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from gradbrain.figures import style
from gradbrain.figures.declarations import FigureError

VERTICES_PER_HEMISPHERE = 10242
HEMISPHERES = ("left", "right")
VIEWS = ("lateral", "medial", "ventral")
#: Sharp enough for print at the size at which figures draw a hemisphere.
PIXELS_PER_MM = 1.9
#: Degrees by which views are turned to the back, where visual cortex is.
TURNED = 20.0
#: In the place of a vertex, beside the brain.
BESIDE = -1


@cache
def hemisphere_mesh(
    hemisphere: str, surface: str = "inflated"
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Coordinates (10242, 3) in mm and faces (20480, 3) that nilearn's package carries.

    Parameters
    ----------
    hemisphere
        ``left`` or ``right``.
    surface
        Name of an fsaverage5 surface, e.g. ``inflated`` or ``pial``.
    """
    from nilearn.datasets import load_fsaverage

    part = load_fsaverage("fsaverage5")[surface].parts[hemisphere]
    return np.asarray(part.coordinates, dtype=float), np.asarray(part.faces, dtype=np.int64)


@cache
def bare_colours(hemisphere: str) -> NDArray[np.float64]:
    """Colours of vertices without a value, shape ``(10242, 4)``: two greys, sulcus and gyrus."""
    from nilearn.datasets import load_fsaverage_data

    depth = load_fsaverage_data(mesh="fsaverage5", data_type="sulcal").data.parts[hemisphere]
    gyrus, sulcus = (style.rgba(colour) for colour in style.BARE_CORTEX)
    return np.where(np.asarray(depth)[:, None] > 0, sulcus, gyrus)


def directions(hemisphere: str, view: str) -> NDArray[np.float64]:
    """Where a view looks from.

    Parameters
    ----------
    hemisphere, view
        One of :data:`HEMISPHERES` and of :data:`VIEWS`.

    Returns
    -------
    ndarray of shape (3, 3)
        Unit vectors (right, anterior, superior): to the right of the picture, up, and towards who
        looks. The lateral side is up in the ventral view, below which the lateral view would
        continue.
    """
    outwards = -1.0 if hemisphere == "left" else 1.0
    back, away = np.sin(np.deg2rad(TURNED)), np.cos(np.deg2rad(TURNED))
    if view == "ventral":
        up, towards = (outwards, 0.0, 0.0), (0.0, -back, -away)
    else:
        side = outwards if view == "lateral" else -outwards
        up, towards = (0.0, 0.0, 1.0), (side * away, -back, 0.0)
    return np.array([np.cross(up, towards), up, towards])


@cache
def seen_vertices(hemisphere: str, view: str) -> NDArray[np.int64]:
    """Vertex that each pixel of a view shows.

    Parameters
    ----------
    hemisphere, view
        One of :data:`HEMISPHERES` and of :data:`VIEWS`.

    Returns
    -------
    ndarray of shape (height, width)
        :data:`BESIDE` where there is no brain. All views have the same scale.
    """
    points, faces = hemisphere_mesh(hemisphere)
    across, up, near = directions(hemisphere, view) @ points.T
    x = PIXELS_PER_MM * (across - across.min()) + 1
    y = PIXELS_PER_MM * (up.max() - up) + 1
    shape = int(np.ceil(y.max())) + 1, int(np.ceil(x.max())) + 1
    place, depth, vertex = _pixels_of_faces(x[faces], y[faces], near[faces], faces, shape[1])
    seen = np.full(shape, BESIDE)
    # Of several faces behind one another the nearest is written last, and stays.
    order = np.argsort(depth, kind="stable")
    seen.ravel()[place[order]] = vertex[order]
    return seen


def _pixels_of_faces(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    near: NDArray[np.float64],
    faces: NDArray[np.int64],
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Pixels in each face: their place, how near they are, the corner that is nearest to them.

    Parameters
    ----------
    x, y, near
        Of the corners, shape ``(n_faces, 3)``, in pixels and in mm.
    faces
        Vertices, of the same shape.
    width
        Of the picture.
    """
    area = _twice_area(x[:, 0], y[:, 0], x[:, 1], y[:, 1], x[:, 2], y[:, 2])
    left, top = np.floor(x.min(axis=1)).astype(int), np.floor(y.min(axis=1)).astype(int)
    wide = np.where(area == 0, 0, np.ceil(x.max(axis=1)).astype(int) - left)
    tall = np.ceil(y.max(axis=1)).astype(int) - top
    places, depths, vertices = [], [], []
    for down in range(int(tall.max())):
        for right in range(int(wide.max())):
            own = np.flatnonzero((right < wide) & (down < tall))
            column, row = left[own] + right, top[own] + down
            # Of the middle of the pixel, as shares of the three corners.
            at = column + 0.5, row + 0.5
            a, b, c = ((x[own, corner], y[own, corner]) for corner in range(3))
            first = _twice_area(*at, *b, *c) / area[own]
            second = _twice_area(*a, *at, *c) / area[own]
            shares = np.stack([first, second, 1 - first - second], axis=1)
            inside = (shares >= -1e-9).all(axis=1)
            own, shares = own[inside], shares[inside]
            places.append(row[inside] * width + column[inside])
            depths.append((shares * near[own]).sum(axis=1))
            vertices.append(faces[own, shares.argmax(axis=1)])
    return np.concatenate(places), np.concatenate(depths), np.concatenate(vertices)


def _twice_area(ax, ay, bx, by, cx, cy):  # type: ignore[no-untyped-def]
    return (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)


def vertex_values(
    vertices: NDArray[np.int64], values: NDArray[np.float64], hemisphere: str
) -> NDArray[np.float64]:
    """Spread values over all vertices of a hemisphere.

    Parameters
    ----------
    vertices, values
        Shape ``(n_known,)``.
    hemisphere
        For the error message.

    Returns
    -------
    ndarray of shape (10242,)
        NaN where none is known.

    Raises
    ------
    FigureError
        A vertex is none of fsaverage5.
    """
    outside = vertices[(vertices < 0) | (vertices >= VERTICES_PER_HEMISPHERE)]
    if len(outside):
        raise FigureError(
            f"maps store: vertex {int(outside[0])} in the {hemisphere} hemisphere; fsaverage5 "
            f"has vertices 0 to {VERTICES_PER_HEMISPHERE - 1} in each"
        )
    spread = np.full(VERTICES_PER_HEMISPHERE, np.nan)
    spread[vertices] = values
    return spread


def picture(hemisphere: str, view: str, colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Draw one view of a hemisphere.

    Parameters
    ----------
    hemisphere, view
        One of :data:`HEMISPHERES` and of :data:`VIEWS`.
    colours
        RGBA of the vertices, from 0 to 1, shape ``(10242, 4)``; NaN in a row: without a value.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        RGBA, transparent beside the brain.
    """
    bare = np.isnan(colours).any(axis=1, keepdims=True)
    whole = np.where(bare, bare_colours(hemisphere), colours)
    seen = seen_vertices(hemisphere, view)
    # The last two rows: the outline, by which white parts stand out from the page, and beside it.
    table = np.vstack([whole, style.rgba(style.MUTED), np.zeros(4)])
    places = np.where(_outline(hemisphere, view), len(whole), seen)
    return np.round(255 * table[places]).astype(np.uint8)


@cache
def _outline(hemisphere: str, view: str) -> NDArray[np.bool_]:
    """Pixels of the page that touch the brain."""
    brain: NDArray[np.bool_] = np.not_equal(seen_vertices(hemisphere, view), BESIDE)
    near = brain.copy()
    near[1:] |= brain[:-1]
    near[:-1] |= brain[1:]
    near[:, 1:] |= brain[:, :-1]
    near[:, :-1] |= brain[:, 1:]
    return near & ~brain
