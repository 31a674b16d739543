"""Seeded augmented views of images, the same for an image whatever batch it is in.

The distribution follows DINO's global crops (Caron et al. 2021, appendix): random resized crop,
horizontal flip, colour jitter, random greyscale. Blur and solarisation are left out.
"""

from __future__ import annotations

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


class ViewOptions(StrictModel):
    """How augmented views are drawn."""

    n_views: int = Field(2, ge=1, description="Views per image.")
    min_area: float = Field(0.4, gt=0, le=1, description="Smallest share of the image in a crop.")
    max_log_aspect: float = Field(
        0.2877, ge=0, description="Largest log aspect ratio of a crop; ln(4/3)."
    )
    flip: float = Field(0.5, ge=0, le=1, description="Probability of a mirror image.")
    brightness: float = Field(0.4, ge=0, le=1)
    contrast: float = Field(0.4, ge=0, le=1)
    saturation: float = Field(0.2, ge=0, le=1)
    greyscale: float = Field(0.2, ge=0, le=1, description="Probability of a grey image.")


def _draw(random: np.random.Generator, options: ViewOptions) -> list[float]:
    """Parameters of one view: affine sx, sy, tx, ty, then brightness, contrast, saturation."""
    area = random.uniform(options.min_area, 1)
    aspect = np.exp(random.uniform(-options.max_log_aspect, options.max_log_aspect))
    width, height = min(1.0, np.sqrt(area * aspect)), min(1.0, np.sqrt(area / aspect))
    shift_x = random.uniform(-(1 - width), 1 - width)
    shift_y = random.uniform(-(1 - height), 1 - height)
    mirror = -1.0 if random.uniform() < options.flip else 1.0
    brightness = 1 + random.uniform(-options.brightness, options.brightness)
    contrast = 1 + random.uniform(-options.contrast, options.contrast)
    saturation = 1 + random.uniform(-options.saturation, options.saturation)
    if random.uniform() < options.greyscale:
        saturation = 0.0
    return [width * mirror, height, shift_x, shift_y, brightness, contrast, saturation]


def augmented_view(
    batch: ImageBatch, *, view: int, seed: int, options: ViewOptions
) -> torch.Tensor:
    """Draw one augmented view of each image of a batch.

    Parameters
    ----------
    batch
        Images in [0, 1], (B, 3, S, S).
    view
        Index of the view.
    seed
        With image id and view it determines the crop and the colours.
    options
        Distribution of the views.

    Returns
    -------
    torch.Tensor
        (B, 3, S, S) in [0, 1].
    """
    drawn = np.array(
        [_draw(generator(name, seed, "view", view), options) for name in batch.image_ids]
    )
    raw = batch.raw
    scale_x, scale_y, shift_x, shift_y, *colour = torch.as_tensor(
        drawn.T, dtype=raw.dtype, device=raw.device
    )
    affine = torch.zeros(len(batch), 2, 3, dtype=raw.dtype, device=raw.device)
    affine[:, 0, 0], affine[:, 1, 1] = scale_x, scale_y
    affine[:, 0, 2], affine[:, 1, 2] = shift_x, shift_y
    grid = functional.affine_grid(affine, list(raw.shape), align_corners=False)
    cropped = functional.grid_sample(raw, grid, padding_mode="border", align_corners=False)
    brightness, contrast, saturation = (part.view(-1, 1, 1, 1) for part in colour)
    image = (cropped * brightness).clamp(0, 1)
    luma = torch.tensor(LUMA, dtype=raw.dtype, device=raw.device).view(1, 3, 1, 1)
    mean_grey = (image * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    image = torch.lerp(mean_grey, image, contrast).clamp(0, 1)
    grey = (image * luma).sum(1, keepdim=True)
    return torch.lerp(grey, image, saturation).clamp(0, 1)


def draw_views(batch: ImageBatch, *, seed: int, options: ViewOptions) -> list[torch.Tensor]:
    """Draw all views of a batch, or take those that were drawn of it before.

    Parameters
    ----------
    batch
        Images; the views stay with it.
    seed, options
        As for :func:`augmented_view`.

    Returns
    -------
    list of torch.Tensor
        For each view (B, 3, S, S) in [0, 1].
    """
    drawn = []
    for view in range(options.n_views):
        key = ("image", *_view_key(view, seed, options))
        if key not in batch.views:
            batch.views[key] = augmented_view(batch, view=view, seed=seed, options=options)
        drawn.append(batch.views[key])
    return drawn


def _view_key(view: int, seed: int, options: ViewOptions) -> tuple[int, int, str]:
    """Name what a view depends on; how many others there are does not matter."""
    return view, seed, options.model_dump_json(exclude={"n_views"})


def view_features(
    model: VisionModel, batch: ImageBatch, *, seed: int, options: ViewOptions
) -> list[torch.Tensor]:
    """Pass all views of a batch through the network, once for all objectives that share them.

    Parameters
    ----------
    model
        Network.
    batch
        Images; what is computed stays with it.
    seed, options
        As for :func:`augmented_view`.

    Returns
    -------
    list of torch.Tensor
        For each view the network's features (B, D), without a graph.
    """
    found = []
    for view, raw in enumerate(draw_views(batch, seed=seed, options=options)):
        key = ("features", model.entry.name, *_view_key(view, seed, options))
        if key not in batch.views:
            with torch.no_grad():
                batch.views[key] = model.outputs(raw)["features"]
        found.append(batch.views[key])
    return found
