"""The encoding store of one layer and subject, labelled and in the order of the responses."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradbrain.config.schema import OTHER_THAN_FITS, EncodingSettings
from gradbrain.encoding.averages import Averages, saved_targets
from gradbrain.encoding.inputs import LayerFeatures, Responses
from gradbrain.encoding.measures import Fit, ScoreRow, fit_label

FLOATS = NDArray[np.floating]

# What `band_weight` is of, in the words of the attribute.
BAND_WEIGHT_OF = "the first band of a fit; the others have the rest"


def assemble_store(
    averages: Averages,
    features: LayerFeatures,
    responses: Responses,
    settings: EncodingSettings,
    study: str,
) -> xr.Dataset:
    """Label the averages as the encoding store, targets in the order of the response store.

    Parameters
    ----------
    averages
        Sums over images that averages are made from.
    features
        Features of the layers, in the order of the images.
    responses
        Responses of a subject to the images.
    settings
        Section ``encoding`` of the study.
    study
        Name of the study.

    Returns
    -------
    xarray.Dataset
    """
    layout = responses.layout
    fits = features.fits.fits
    rows = features.fits.rows(
        normalised=responses.ceiling is not None, test_images=responses.test_images is not None
    )
    target_coords = _target_coords(responses)

    def stored(values: FLOATS) -> FLOATS:
        return _in_store_order(values, responses).astype(np.float32)

    # Normalised scores are missing where no ceiling is known or it is below the floor, all scores
    # of a target that varies in no fold; no others may be.
    may_miss = responses.ceiling is not None or bool(averages.masked_folds.any())
    measured: dict[str, tuple[tuple[str, ...], FLOATS]] = {
        "score": (("score_row", "target"), stored(averages.score)),
        "unit_score": (("score_row", "unit"), averages.unit_score.astype(np.float32)),
        "boot": (("draw", "score_row", "unit"), averages.boot.astype(np.float32)),
        "null": (("draw", "score_row", "unit"), averages.null.astype(np.float32)),
    }
    variables: dict[str, Any] = {
        name: (dims, values, _missing_allowed(values) if may_miss else {})
        for name, (dims, values) in measured.items()
    }
    for name, values in averages.hyperparameters.items():
        if layout.pooled:
            values = values[:, [targets.start for targets in layout.slices]]
        # himalaya does not tell the degrees of freedom.
        attrs = {"missing_allowed": True} if name == "effective_dof" else {}
        variables[name] = (("fit", "target"), stored(values), attrs)
    of_units = [
        averages.hyperparameters["band_weight"][:, own].mean(axis=1) for own in layout.slices
    ]
    variables["unit_band_weight"] = (
        ("fit", "unit"),
        np.stack(of_units, axis=1).astype(np.float32),
    )
    variables["masked_folds"] = ("target", _in_store_order(averages.masked_folds, responses))
    coords: dict[str, Any] = {
        **_row_coords(rows, fits, averages),
        **fit_coords(fits),
        "unit": ("unit", np.array(layout.names)),
        **{
            name: ("target", values, _missing_allowed(values))
            for name, values in target_coords.items()
        },
    }
    if responses.unit_time is not None:
        coords["unit_time"] = ("unit", responses.unit_time)
    if averages.rdms is not None:
        coords |= averages.rdms.coords
        for name in ("score", "boot", "null"):
            values = getattr(averages.rdms, name).astype(np.float32)
            dims = ("rdm_row", "unit") if name == "score" else ("draw", "rdm_row", "unit")
            variables[f"rdm_{name}"] = (dims, values, _missing_allowed(values))
    saved = saved_targets(layout, settings.save_predictions)
    if len(saved):
        variables["prediction"] = (
            ("fit", "image", "saved_target"),
            averages.predictions.astype(np.float32),
        )
        coords["image_id"] = ("image", responses.image_ids)
        # Position of each saved target in the response store.
        coords["saved_target"] = ("saved_target", responses.target_order[saved])
    return xr.Dataset(
        variables,
        coords=coords,
        attrs=_attributes(averages, features, responses, settings, study),
    )


def _row_coords(rows: list[ScoreRow], fits: list[Fit], averages: Averages) -> dict[str, Any]:
    """Who the signal of every row is, what is measured, and in which fit."""
    signals = [row.signal for row in rows]
    coords = {
        "signal": [signal.name for signal in signals],
        "role": [signal.role for signal in signals],
        "rule": [signal.rule for signal in signals],
        "objective": [signal.objective for signal in signals],
        "measure": [row.measure for row in rows],
        "row_fit": [fits.index(row.fit) for row in rows],
        "edge_share": [averages.edge_share([signal]) for signal in signals],
    }
    return {name: ("score_row", np.array(values)) for name, values in coords.items()}


def fit_coords(fits: list[Fit]) -> dict[str, Any]:
    """Bands of every fit: in words, and by name and role, which tell them apart."""
    width = max(map(len, fits))
    names = [[*(band.name for band in fit), *[""] * (width - len(fit))] for fit in fits]
    roles = [[*(band.role for band in fit), *[""] * (width - len(fit))] for fit in fits]
    return {
        "fit": ("fit", np.array([fit_label(fit) for fit in fits])),
        "fit_band": (("fit", "place"), np.array(names)),
        "fit_role": (("fit", "place"), np.array(roles)),
    }


def _in_store_order(values: NDArray[Any], responses: Responses) -> NDArray[Any]:
    """Undo the sorting of targets by unit along the last axis."""
    if responses.layout.pooled:
        return values
    stored = np.empty_like(values)
    stored[..., responses.target_order] = values
    return stored


def _target_coords(responses: Responses) -> dict[str, NDArray[Any]]:
    if responses.layout.pooled:
        names = np.array(responses.layout.names)
        # Units hold reliable targets only.
        return {"roi": names, "reliable": np.ones(len(names), dtype=bool)}
    return {**responses.target_coords, "reliable": responses.reliable}


def _missing_allowed(values: NDArray[Any]) -> dict[str, bool]:
    holds_nan = values.dtype.kind == "f" and bool(np.isnan(values).any())
    return {"missing_allowed": True} if holds_nan else {}


def _scored(responses: Responses) -> list[slice]:
    """Places of every unit's scores along the targets that are scored."""
    layout = responses.layout
    if layout.pooled:
        return [slice(unit, unit + 1) for unit in range(len(layout.names))]
    return layout.slices


def _attributes(
    averages: Averages,
    features: LayerFeatures,
    responses: Responses,
    settings: EncodingSettings,
    study: str,
) -> dict[str, Any]:
    brain, layer = responses.attrs, features.attrs
    attrs = {
        "study": study,
        **{
            key: brain[key]
            for key in ("dataset", "subject", "modality", "axis", "sensors", "space")
        },
        **{key: layer[key] for key in ("model", "layer", "depth", "signal_set", "stimuli")},
        "layer_index": features.layers.index(features.layer),
        "n_layers": len(features.layers),
        "n_images": len(responses.image_ids),
        "n_test_images": (0 if responses.test_images is None else int(responses.test_images.sum())),
        "n_groups": len(np.unique(responses.groups)),
        "n_targets": responses.layout.n_targets,
        "n_unit_targets": responses.layout.sizes.tolist(),
        "n_unreliable_targets": responses.n_unreliable,
        "n_unit_masked": [
            int(np.count_nonzero(averages.masked_folds[own])) for own in _scored(responses)
        ],
        "n_targets_below_ceiling_floor": responses.n_below_floor,
        "rotation_invariant": responses.rotation_invariant,
        **{key: list(brain[key]) for key in ("roi_order", "early_rois", "high_rois")},
        "onset_s": brain["onset_s"],
        "onset_source": brain.get("onset_source", ""),
        "band_weight_of": BAND_WEIGHT_OF,
        "settings": settings.model_dump(mode="json", exclude=set(OTHER_THAN_FITS)),
        "features_digest": layer["digest"],
        "responses_digest": brain["digest"],
    }
    if averages.rdms is not None:
        attrs["n_rdm_groups"] = averages.rdms.n_groups
    if features.nuisance:
        attrs["nuisance_digests"] = list(features.nuisance_digests)
    if "roi_distance" in brain:
        attrs["roi_distance"] = dict(brain["roi_distance"])
    if brain.get("coverage"):
        attrs["coverage"] = brain["coverage"]
    return attrs
