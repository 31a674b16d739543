"""Synthetic encoding stores: worlds are stated as scores, so that the truth is known exactly."""

import numpy as np
import pytest
import xarray as xr
from trees.unique_variance import write_unique

from gradbrain.config.schema import Cotangents, SignalEntry, SignalSet
from gradbrain.hierarchy.subject_scores import read_subjects
from gradbrain.store import write_store
from gradbrain.vocabulary.roles import ACTIVATION, BASELINE, CONTROL, LEARNING, ROI, TIME

ALL = Cotangents(rule=("backprop",))
SIGNAL_SET = SignalSet(
    name="test",
    signals=tuple(
        SignalEntry(name=name, role=role, rule=rule, objective=objective, control_of=controlled)
        for name, role, rule, objective, controlled in (
            ("activation", ACTIVATION, "activation", None, ()),
            ("gradient_dino", LEARNING, "backprop", "dino", ()),
            ("gradient_feature_norm", CONTROL, "backprop", "feature_norm", ALL),
            ("gradient_fixed_cotangent", CONTROL, "backprop", "fixed_cotangent", ALL),
            (
                "gradient_shuffled_dino",
                CONTROL,
                "backprop",
                "shuffled_cotangent",
                ("gradient_dino",),
            ),
        )
    ),
)
# What the row of all layers' activations is called, and the axes of the modalities of these tests.
ALL_ACTIVATIONS = "all_activations"
AXES = {"fmri": ROI, "meg": TIME}
LAYERS = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
DEPTHS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
ROIS = ("V1", "V2", "V3", "V4", "LO")
DISTANCES = {"V1": 0.0, "V2": 12.0, "V3": 20.0, "V4": 33.0, "LO": 45.0}
TIMES = np.round(np.arange(-0.08, 0.81, 0.04), 3)
N_DRAWS = 100


def store_rows(signal_set):
    """Rows of a store: (signal, role, measure), all layers' activations among them."""
    activation = signal_set.activation
    rows = [(activation, ACTIVATION, "r"), (ALL_ACTIVATIONS, BASELINE, "r")]
    rows.append((activation, ACTIVATION, "r2"))
    for signal in signal_set.signals:
        if signal.role != ACTIVATION:
            measures = ("r", "joint_r2", "unique_r2")
            rows += [(signal.name, signal.role, measure) for measure in measures]
    return rows


def identity_coords(rows, signal_set):
    """Coordinates along ``score_row`` that say what each row is of."""
    known = {(signal.name, signal.role): signal for signal in signal_set.signals}
    entries = [known.get((name, role)) for name, role, _ in rows]
    columns = {
        "signal": [name for name, _, _ in rows],
        "role": [role for _, role, _ in rows],
        "rule": [entry.rule if entry else "" for entry in entries],
        "objective": [(entry.objective or "") if entry else "" for entry in entries],
        "measure": [measure for _, _, measure in rows],
        "row_fit": ["one"] * len(rows),
        "edge_share": np.zeros(len(rows)),
    }
    return {name: ("score_row", values) for name, values in columns.items()}


def make_store(
    path,
    *,
    truth,
    layer,
    modality="fmri",
    axis=None,
    dataset="brain",
    subject="brain-s1",
    model="net",
    study="test",
    noise=0.004,
    seed=0,
    n_draws=N_DRAWS,
    per_roi=4,
    rows=None,
    signal_set=SIGNAL_SET,
    target_coords=None,
    **attrs,
):
    """Write one store; ``truth(signal, measure, depth)`` gives the score of every unit.

    `rows` are (signal, role, measure).
    """
    random = np.random.default_rng([seed, LAYERS.index(layer)])
    rows = store_rows(signal_set) if rows is None else rows
    axis = AXES[modality] if axis is None else axis
    depth = float(DEPTHS[LAYERS.index(layer)])
    units = [str(t) for t in TIMES] if axis == TIME else list(ROIS)
    score = np.array([truth(signal, measure, depth) for signal, _, measure in rows])
    unit_score = score + noise * random.standard_normal(score.shape)
    shape = (n_draws, *unit_score.shape)
    boot = unit_score + noise * random.standard_normal(shape)
    null = noise * random.standard_normal(shape)
    if axis == TIME:
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
            **{
                name: (("fit", "target"), np.ones((1, targets.shape[1])))
                for name in ("penalty_log10", "band_weight", "effective_dof")
            },
            "unit_band_weight": (("fit", "unit"), np.ones((1, len(units)))),
        },
        coords={
            **identity_coords(rows, signal_set),
            "fit": ("fit", ["one"]),
            "unit": ("unit", units),
            "reliable": ("target", np.ones(targets.shape[1], dtype=bool)),
            **coords,
            **{name: ("target", values) for name, values in (target_coords or {}).items()},
        },
        attrs={
            "study": study,
            "dataset": dataset,
            "subject": subject,
            "modality": modality,
            "axis": axis,
            "sensors": "sensors" if axis == TIME else "voxels",
            "model": model,
            "layer": layer,
            "depth": depth,
            "signal_set": signal_set.name,
            "stimuli": "pictures",
            "features_digest": f"features of {model}, {layer}",
            "responses_digest": f"responses of {subject}",
            "rotation_invariant": False,
            "n_groups": 100,
            "n_images": 100,
            "settings": {"n_folds": 5},
            **extra,
            **attrs,
        },
    )
    write_store(path, store, kind="encoding")
    return path


@pytest.fixture(scope="session")
def make_encoding_store():
    return make_store


@pytest.fixture(scope="session")
def signal_set():
    """Signals of the stores that the other fixtures write."""
    return SIGNAL_SET


@pytest.fixture(scope="session")
def read_scores():
    """Read encoding stores with the unique variance that belongs to them."""

    def read(paths, signal_set=SIGNAL_SET, **facts):
        return read_subjects(paths, signal_set, write_unique(paths, **facts))

    return read


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
