"""Synthetic encoding stores: worlds are stated as scores, so that the truth is known exactly."""

import numpy as np
import pytest
import xarray as xr

from gradbrain.store import write_store

ROLES = {
    "activation": "activation",
    "gradient_dino": "learning",
    "gradient_feature_norm": "control",
    "gradient_fixed_cotangent": "control",
    "gradient_shuffled_dino": "control",
}
LAYERS = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
DEPTHS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
ROIS = ("V1", "V2", "V3", "V4", "LO")
DISTANCES = {"V1": 0.0, "V2": 12.0, "V3": 20.0, "V4": 33.0, "LO": 45.0}
TIMES = np.round(np.arange(-0.08, 0.81, 0.04), 3)
N_DRAWS = 100


def store_rows():
    rows = [(signal, measure) for signal in ("activation", "all_activations") for measure in "r"]
    rows += [("activation", "r2"), ("activation", "reweighting_r2")]
    for signal, role in ROLES.items():
        if role != "activation":
            rows += [(signal, measure) for measure in ("r", "joint_r2", "unique_r2")]
    return rows


def make_store(
    path,
    *,
    truth,
    layer,
    modality="fmri",
    dataset="brain",
    subject="brain-s1",
    model="net",
    study="test",
    noise=0.004,
    seed=0,
    n_draws=N_DRAWS,
    per_roi=4,
    rows=None,
    target_coords=None,
    **attrs,
):
    """Write one store; ``truth(signal, measure, depth)`` gives the score of every unit."""
    random = np.random.default_rng([seed, LAYERS.index(layer)])
    rows = store_rows() if rows is None else rows
    depth = float(DEPTHS[LAYERS.index(layer)])
    meg = modality == "meg"
    units = [str(t) for t in TIMES] if meg else list(ROIS)
    score = np.array([truth(signal, measure, depth) for signal, measure in rows])
    unit_score = score + noise * random.standard_normal(score.shape)
    shape = (n_draws, *unit_score.shape)
    boot = unit_score + noise * random.standard_normal(shape)
    null = noise * random.standard_normal(shape)
    if meg:
        targets = np.repeat(unit_score, 2, axis=1)
        coords = {
            "time": ("target", np.repeat(TIMES, 2)),
            "sensor": ("target", ["A", "B"] * len(TIMES)),
            "sensor_x": ("target", [-1.0, 1.0] * len(TIMES)),
            "sensor_y": ("target", [0.0, 0.0] * len(TIMES)),
            "unit_time": ("unit", TIMES),
        }
        extra = {"roi_order": [], "early_rois": [], "high_rois": [], "space": "sensors"}
    else:
        targets = np.repeat(unit_score, per_roi, axis=1)
        place = np.arange(targets.shape[1])
        coords = {
            "roi": ("target", np.repeat(ROIS, per_roi)),
            "hemisphere": ("target", np.where(place % 2, "R", "L")),
            "vertex": ("target", place),
            **dict.fromkeys("xyz", ("target", place * 1.0)),
        }
        extra = {
            "roi_order": list(ROIS),
            "early_rois": ["V1", "V2"],
            "high_rois": ["V4", "LO"],
            "roi_distance": DISTANCES,
            "space": "fsaverage5",
        }
    store = xr.Dataset(
        {
            "score": (("score_row", "target"), targets),
            "unit_score": (("score_row", "unit"), unit_score),
            "boot": (("draw", "score_row", "unit"), boot),
            "null": (("draw", "score_row", "unit"), null),
        },
        coords={
            "signal": ("score_row", [signal for signal, _ in rows]),
            "measure": ("score_row", [measure for _, measure in rows]),
            "unit": ("unit", units),
            **coords,
            **{name: ("target", values) for name, values in (target_coords or {}).items()},
        },
        attrs={
            "study": study,
            "dataset": dataset,
            "subject": subject,
            "modality": modality,
            "model": model,
            "layer": layer,
            "depth": depth,
            "roles": ROLES,
            "rotation_invariant": False,
            **extra,
            **attrs,
        },
    )
    write_store(path, store, kind="encoding")
    return path


@pytest.fixture(scope="session")
def make_encoding_store():
    return make_store


@pytest.fixture
def make_subject_stores(tmp_path):
    """Write the stores of all layers of a subject; return their paths."""

    def make(subject="brain-s1", layers=LAYERS, **facts):
        dataset = facts.get("dataset", "brain")
        folder = tmp_path / facts.get("model", "net")
        return [
            make_store(
                folder / layer / f"{dataset}-{subject}.zarr", layer=layer, subject=subject, **facts
            )
            for layer in layers
        ]

    return make
