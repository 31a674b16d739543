"""All layers' activations of a model, reduced once per outer fold for the fits of all its layers.

Every fit compares a layer's signal with what the activations of all layers explain. That baseline
is the same for each layer of a model, and its principal components cost more than the fit of a
layer; so they are taken once per model and subject. Nothing but training images of a fold enters
its standardisation and its components.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import BASELINE_SETTINGS, EncodingSettings
from gradbrain.encoding.bands import Band, reduce, scale_band
from gradbrain.encoding.errors import EncodingError
from gradbrain.encoding.inputs import ImageGroups, read_image_groups
from gradbrain.encoding.splits import OuterSplit
from gradbrain.store import open_layers, open_store
from gradbrain.store.feature_signals import SHARED, rows_of_images

log = logging.getLogger(__name__)

FLOATS = NDArray[np.floating]


@dataclass(frozen=True)
class Baseline:
    """Components of all layers' activations, read from their store split by split.

    Attributes
    ----------
    path
        File to read.
    components
        Xarray.DataArray of shape (n_splits, n_images, n_components). Lazily read.
    rows
        Shape (n_images,). Row of every image of the fit.
    n_constant
        Shape (n_splits,). Features that were dropped because they are constant in training.
    layers
        Layers whose activations went in, in depth order.
    """

    path: Path
    components: xr.DataArray
    rows: NDArray[np.intp]
    n_constant: NDArray[np.int64]
    layers: list[str]

    def band(self, split: OuterSplit) -> Band:
        """Components of one split, at the scale of every band.

        Parameters
        ----------
        split
            Images to learn from and images held out.

        Returns
        -------
        Band
        """
        values = self.components[split.number].values[self.rows]
        return scale_band(
            values[split.train],
            values[split.held_out],
            n_constant=int(self.n_constant[split.number]),
        )


def baseline_settings(settings: EncodingSettings) -> dict[str, Any]:
    """Pick the settings that the components depend on."""
    return settings.model_dump(mode="json", include=set(BASELINE_SETTINGS))


def reduce_activations(
    *, features: list[Path], responses: Path, settings: EncodingSettings
) -> xr.Dataset:
    """Take the principal components of all layers' activations in every outer split.

    Parameters
    ----------
    features
        Feature stores of all layers of a model, in depth order.
    responses
        Response store of the subject; only its images, groups and test images are read.
    settings
        Section ``encoding`` of the study.

    Returns
    -------
    xarray.Dataset
        ``component(split, image, component)``: centred on the training images of the split, not
        whitened, zero where a split has fewer; ``n_constant(split)``.

    Raises
    ------
    StoreError
        If the stores do not belong together, or one lacks an image.
    """
    images = read_image_groups(responses)
    layers = open_layers(features, images.image_ids, responses)
    joined = np.concatenate([layer.values(layer.activation) for layer in layers], axis=1)
    settings = images.settings(settings)
    splits = images.splits(settings)
    dtype = np.dtype(settings.dtype)
    found, constant = [], []
    for split in splits:
        train, held_out, n_constant = reduce(
            joined[split.train],
            joined[split.held_out],
            n_components=settings.baseline_components,
            dtype=dtype,
        )
        values = np.zeros((len(joined), train.shape[1]), dtype=dtype)
        values[split.train], values[split.held_out] = train, held_out
        found.append(values)
        constant.append(n_constant)
        log.info("split %d of %d: %d components", split.number + 1, len(splits), train.shape[1])
    width = max(values.shape[1] for values in found)
    components = np.zeros((len(splits), len(joined), width), dtype=dtype)
    for number, values in enumerate(found):
        components[number, :, : values.shape[1]] = values
    return xr.Dataset(
        {
            "component": (("split", "image", "component"), components),
            "n_constant": ("split", np.array(constant, dtype=np.int64)),
        },
        coords={"image_id": ("image", images.image_ids)},
        attrs={
            **{key: str(layers[0].attrs[key]) for key in SHARED},
            "settings": baseline_settings(settings),
            "layers": [layer.layer for layer in layers],
            "features_digests": {layer.layer: str(layer.attrs["digest"]) for layer in layers},
            "responses_digest": images.digest,
        },
    )


def read_baseline(
    path: Path,
    *,
    layer_attrs: dict[str, Any],
    images: ImageGroups,
    responses: Path,
    settings: EncodingSettings,
) -> Baseline:
    """Open the components that `reduce_activations` made for the fits of a subject.

    Parameters
    ----------
    path
        File to read.
    layer_attrs
        Attributes of the feature store of the layer that is fitted.
    images
        Images of the responses, in the order that the components take.
    responses
        Response store, named in errors.
    settings
        Section ``encoding`` of the study.

    Returns
    -------
    Baseline

    Raises
    ------
    EncodingError
        If it was made with other settings, of other features, or for other responses, whose
        groups and thereby folds may differ.
    StoreError
        If it lacks an image.
    """
    store = open_store(path, kind="baseline")
    expected = baseline_settings(settings)
    if store.attrs["settings"] != expected:
        raise EncodingError(
            f"{path}: was made with {store.attrs['settings']}, the fit has {expected}: make it "
            "again with scripts/reduce_activations.py"
        )
    if store.attrs["responses_digest"] != images.digest:
        raise EncodingError(
            f"{path}: was made for other responses than {responses}, whose folds may differ: make "
            "it again with scripts/reduce_activations.py"
        )
    layer = str(layer_attrs["layer"])
    digests = store.attrs["features_digests"]
    if digests.get(layer) != layer_attrs["digest"]:
        raise EncodingError(
            f"{path}: was made of other features of layer {layer!r} than those that are fitted, "
            f"or without them; it holds {', '.join(digests)}: make it again with "
            "scripts/reduce_activations.py"
        )
    return Baseline(
        path=path,
        components=store["component"],
        rows=rows_of_images(
            path, store["image_id"].values.astype(str), images.image_ids, responses
        ),
        n_constant=store["n_constant"].values,
        layers=[str(name) for name in store.attrs["layers"]],
    )
