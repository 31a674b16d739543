"""Seeded augmented views of images, the same for an image whatever batch it is in.

The distribution follows DINO's global crops (Caron et al. 2021, appendix): random resized crop,
horizontal flip, colour jitter, random greyscale. Blur and solarisation are left out.

How the views of an image are drawn together is a choice that leaves the distribution of each of
them as it is, so that an average over views has the same expectation, and another variance. A view
is a point of the nine-dimensional unit cube. The points of an image are independent of each other,
or a Latin hypercube (McKay, Beckman & Conover 1979), or the first points of a scrambled Sobol
sequence (Owen 1998), which fills the cube evenly; or they come in pairs of opposite points
(Hammersley & Morton 1956). Common views have the same parameters for every image: what they add to
all images alike is then no difference between images.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from gradbrain.config.schema import StrictModel
from gradbrain.models.build import VisionModel
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.seeds import generator

# ITU-R BT.601 luma weights.
LUMA = (0.299, 0.587, 0.114)
# Area, aspect, two shifts, flip, brightness, contrast, saturation, greyscale.
N_PARAMETERS = 9


class ViewOptions(StrictModel):
    """How augmented views are drawn."""

    n_views: int = Field(32, ge=1, description="Views per image.")
    shared: bool = Field(
        True, description="Every image is seen under the same crops and colours (common views)."
    )
    sampling: Literal["independent", "antithetic", "latin", "sobol"] = Field(
        "sobol", description="How the views of an image are drawn together."
    )
    min_area: float = Field(0.4, gt=0, le=1, description="Smallest share of the image in a crop.")
    max_log_aspect: float = Field(
        0.2877, ge=0, description="Largest log aspect ratio of a crop; ln(4/3)."
    )
    flip: float = Field(0.5, ge=0, le=1, description="Probability of a mirror image.")
    brightness: float = Field(0.4, ge=0, le=1)
    contrast: float = Field(0.4, ge=0, le=1)
    saturation: float = Field(0.2, ge=0, le=1)
    greyscale: float = Field(0.2, ge=0, le=1, description="Probability of a grey image.")


def view_points(name: str | None, *, seed: int, options: ViewOptions) -> np.ndarray:
    """Draw the views of an image as points of the unit cube.

    Parameters
    ----------
    name
        Id of the image; None where views are common to all images.
    seed, options
        As for :func:`view_parameters`.

    Returns
    -------
    numpy.ndarray
        (n_views, 9) float64 in [0, 1). Each row is uniform on the cube, whatever the sampling.
    """
    # scipy.stats takes a second to import, and planning reads this module.
    from scipy.stats import qmc

    n_views, who = options.n_views, () if name is None else (name,)
    if options.sampling == "independent":
        rows = [generator(*who, seed, "view", view).random(N_PARAMETERS) for view in range(n_views)]
        return np.array(rows)
    random = generator(*who, seed, "views", options.sampling)
    if options.sampling == "latin":
        return qmc.LatinHypercube(N_PARAMETERS, rng=random).random(n_views)
    if options.sampling == "sobol":
        engine = qmc.Sobol(N_PARAMETERS, rng=random)
        # A sequence of 2^m points is balanced; scrambling makes any of its points uniform.
        return engine.random_base2((n_views - 1).bit_length())[:n_views]
    half = random.random(((n_views + 1) // 2, N_PARAMETERS))
    return np.stack([half, 1 - half], axis=1).reshape(-1, N_PARAMETERS)[:n_views]


def view_parameters(points: np.ndarray, options: ViewOptions) -> np.ndarray:
    """Turn points of the unit cube into crops and colours.

    Parameters
    ----------
    points
        (..., 9) in [0, 1).
    options
        Distribution of the views.

    Returns
    -------
    numpy.ndarray
        (..., 7): affine scale x, scale y (x is negative in mirror images), shift x, shift y, then
        brightness, contrast and saturation as factors.
    """
    area, aspect, shift_x, shift_y, flip, brightness, contrast, saturation, grey = np.moveaxis(
        points, -1, 0
    )
    area = options.min_area + (1 - options.min_area) * area
    aspect = np.exp(options.max_log_aspect * (2 * aspect - 1))
    width = np.minimum(1, np.sqrt(area * aspect))
    height = np.minimum(1, np.sqrt(area / aspect))
    return np.stack(
        [
            np.where(flip < options.flip, -width, width),
            height,
            (1 - width) * (2 * shift_x - 1),
            (1 - height) * (2 * shift_y - 1),
            1 + options.brightness * (2 * brightness - 1),
            1 + options.contrast * (2 * contrast - 1),
            np.where(grey < options.greyscale, 0, 1 + options.saturation * (2 * saturation - 1)),
        ],
        axis=-1,
    )


def drawn_parameters(batch: ImageBatch, *, seed: int, options: ViewOptions) -> np.ndarray:
    """Crops and colours of all views of a batch, (B, n_views, 7); (1, n_views, 7) if common."""
    names = [None] if options.shared else batch.image_ids
    points = np.stack([view_points(name, seed=seed, options=options) for name in names])
    return view_parameters(points, options)


def augmented_view(raw: torch.Tensor, parameters: np.ndarray) -> torch.Tensor:
    """Show each image under one view.

    Parameters
    ----------
    raw
        Images in [0, 1], (B, 3, S, S).
    parameters
        (B, 7), or (1, 7) for all images alike; see :func:`view_parameters`.

    Returns
    -------
    torch.Tensor
        (B, 3, S, S) in [0, 1].
    """
    scale_x, scale_y, shift_x, shift_y, *colour = torch.as_tensor(
        parameters.T, dtype=raw.dtype, device=raw.device
    )
    affine = torch.zeros(len(parameters), 2, 3, dtype=raw.dtype, device=raw.device)
    affine[:, 0, 0], affine[:, 1, 1] = scale_x, scale_y
    affine[:, 0, 2], affine[:, 1, 2] = shift_x, shift_y
    shape = [len(parameters), *raw.shape[1:]]
    grid = functional.affine_grid(affine, shape, align_corners=False).expand(len(raw), -1, -1, -1)
    cropped = functional.grid_sample(raw, grid, padding_mode="border", align_corners=False)
    brightness, contrast, saturation = (part.view(-1, 1, 1, 1) for part in colour)
    image = (cropped * brightness).clamp(0, 1)
    luma = torch.tensor(LUMA, dtype=raw.dtype, device=raw.device).view(1, 3, 1, 1)
    mean_grey = (image * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    image = torch.lerp(mean_grey, image, contrast).clamp(0, 1)
    grey = (image * luma).sum(1, keepdim=True)
    return torch.lerp(grey, image, saturation).clamp(0, 1)


def view_features(
    model: VisionModel, batch: ImageBatch, *, seed: int, options: ViewOptions
) -> torch.Tensor:
    """Pass all views of a batch through the network, once for all objectives that share them.

    Parameters
    ----------
    model
        Network.
    batch
        Images; what is computed stays with it. One view of the batch is held at a time.
    seed
        With the image id, unless views are common, it determines crops and colours.
    options
        How many views, and their distribution.

    Returns
    -------
    torch.Tensor
        (B, n_views, D) features of the network, without a graph.
    """
    key = (model.entry.name, seed, options.model_dump_json())
    if key not in batch.views:
        drawn = drawn_parameters(batch, seed=seed, options=options)
        found = [
            model.features_alone(augmented_view(batch.raw, drawn[:, view]))
            for view in range(options.n_views)
        ]
        batch.views[key] = torch.stack(found, dim=1)
    return batch.views[key]
