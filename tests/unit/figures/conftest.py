"""A small study, invented to the file contracts: two fMRI data sets, one MEG, two models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gradbrain.datasets.cortex import AREA_POSITIONS, area_vertices
from gradbrain.figures.inputs import FigureInputs
from gradbrain.store import write_store, write_table
from gradbrain.store.columns import (
    CLAIM_COLUMNS,
    HIERARCHY_COLUMNS,
    JOINED_SCORE_COLUMNS,
    RSA_COLUMNS,
)

STUDY = "invented"
LAYERS = [f"blocks.{i}" for i in range(5)]
DEPTHS = np.linspace(0.2, 1.0, 5)
MODELS = ["mobilenetv2_100_imagenet1k", "mobilenetv2_050_untrained"]
ROLES = {
    "activation": "activation",
    "gradient_dino": "learning",
    "gradient_feature_norm": "control",
    "gradient_fixed_cotangent": "control",
    "gradient_shuffled_dino": "control",
}
ROIS = ["V1", "V2", "V3", "V4", "LO", "PHC"]
DISTANCES = dict(zip(ROIS, [0.0, 8.0, 15.0, 27.0, 41.0, 58.0], strict=True))
TIMES = np.round(np.arange(-0.1, 0.6, 0.04), 3)
DATASETS = {"simulated_fmri_backprop": "fmri", "objects92": "fmri", "simulated_meg_backprop": "meg"}
SUBJECTS = 6
N_DRAWS = 20
SENSORS = 40


def _units(dataset: str) -> list[dict]:
    """Regions or times of a data set."""
    none = {"roi": "", "roi_rank": -1, "distance_mm": np.nan, "time": np.nan, "onset_source": ""}
    if DATASETS[dataset] == "meg":
        return [{**none, "unit_kind": "time", "time": float(t)} for t in TIMES]
    if dataset == "objects92":
        pairs = [("EVC", 0), ("IT", 1)]
        return [{**none, "unit_kind": "roi", "roi": r, "roi_rank": i} for r, i in pairs]
    return [
        {**none, "unit_kind": "roi", "roi": r, "roi_rank": i, "distance_mm": DISTANCES[r]}
        for i, r in enumerate(ROIS)
    ]


def _expected(unit: dict, depth: float, role: str, n_rois: int) -> float:
    """Planted score: activations follow the hierarchy, signals come late and last layer first."""
    if unit["unit_kind"] == "roi":
        place = unit["roi_rank"] / (n_rois - 1)
        level = 0.45 if role == "activation" else 0.3 * (0.5 + 0.5 * place)
        return level * np.exp(-((depth - (0.15 + 0.8 * place)) ** 2) / 0.25)
    centre = 0.09 + 0.15 * depth if role == "activation" else 0.45 - 0.12 * depth
    level = 0.3 if role == "activation" else 0.2
    return level * np.exp(-((unit["time"] - centre) ** 2) / (2 * 0.05**2))


def _ceiling(dataset: str, unit: dict, subject: int) -> float:
    """How well the others predict a subject: not known of virtual voxels."""
    if dataset == "objects92":
        return np.nan
    if unit["unit_kind"] == "roi":
        return 0.55 - 0.02 * unit["roi_rank"] + 0.01 * (subject - 3)
    return (0.45 + 0.01 * (subject - 3)) * float(np.exp(-((unit["time"] - 0.25) ** 2) / 0.05))


def scores_table(model: str) -> pd.DataFrame:
    """Scores of one model, to the contract of ``scores/<model>.parquet``."""
    random = np.random.default_rng(len(model))
    rows = []
    for dataset, modality in DATASETS.items():
        units = _units(dataset)
        n_rois = len(units)
        for subject in range(1, SUBJECTS + 1):
            for index, (layer, depth) in enumerate(zip(LAYERS, DEPTHS, strict=True)):
                for signal, role in ROLES.items():
                    measures = ["r"] if role == "activation" else ["r", "unique_r2"]
                    for measure in measures:
                        scale = {"r": 1.0, "unique_r2": 0.25 if role == "learning" else 0.03}
                        for unit in units:
                            expected = _expected(unit, depth, role, n_rois)
                            value = scale[measure] * expected + random.normal(0, 0.008)
                            rows.append(
                                {
                                    "study": STUDY,
                                    "dataset": dataset,
                                    "subject": f"{dataset}-s{subject:02d}",
                                    "modality": modality,
                                    "model": model,
                                    "layer": layer,
                                    "depth": depth,
                                    "layer_index": index,
                                    "signal": signal,
                                    "role": role,
                                    "measure": measure,
                                    **unit,
                                    "value": value,
                                    "boot_low": value - 0.03,
                                    "boot_high": value + 0.03,
                                    "null_high": 0.04 if measure == "r" else 0.006,
                                    "n_targets": 40,
                                    "intersubject_r": _ceiling(dataset, unit, subject),
                                }
                            )
    return pd.DataFrame(rows).reindex(columns=list(JOINED_SCORE_COLUMNS))


def hierarchy_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Statistics per subject, derived from invented scores."""
    scores = scores.assign(variant=scores["measure"].map({"r": "raw", "unique_r2": "unique"}))
    keys = ["study", "dataset", "subject", "modality", "model", "signal", "role", "variant"]
    rows: list[dict] = []
    random = np.random.default_rng(len(scores))
    # Draws scatter about the value as images would have it, in the unit of the statistic.
    scatter = {"r": 0.02, "R2": 0.004, "depth": 0.05, "s": 0.01}

    def add(key: tuple, statistic: str, value: float, unit: str, **more: object) -> None:
        empty = dict.fromkeys(["layer", "roi", "best_layer", "control"], "")
        empty |= dict.fromkeys(["depth", "distance_mm"], np.nan) | {"onset_source": ""}
        row = dict(zip(keys, key, strict=True)) | empty | more
        boot = value + 0.01 + random.normal(0, scatter[unit], N_DRAWS)
        row |= {"value_at_units": value + 0.01, "boot": boot, "null": np.zeros(N_DRAWS)}
        rows.append(row | {"statistic": statistic, "value": value, "unit": unit, "n": 5})

    for key, part in scores.groupby(keys):
        unit = "r" if key[-1] == "raw" else "R2"
        if key[-2] == "learning":
            for control in (name for name, role in ROLES.items() if role == "control"):
                add(key, "control_difference", 0.02, unit, control=control)
            if key[-1] == "unique":
                add(key, "beyond_reweighting", 0.03, unit)
        if part["modality"].iloc[0] == "fmri":
            add(key, "score_at_peak", part["value"].mean(), unit)
            best = part.loc[part.groupby("roi_rank")["value"].idxmax()]
            for row in best.itertuples():
                for definition in ("argmax", "centre_of_mass"):
                    add(
                        key,
                        "best_layer_depth",
                        row.depth,
                        "depth",
                        roi=row.roi,
                        distance_mm=row.distance_mm,
                        best_layer=definition,
                    )
            if best["distance_mm"].notna().all():
                value = np.corrcoef(best["distance_mm"], best["depth"])[0, 1]
                add(key, "spatial_r", value, "r", best_layer="argmax")
            else:
                value = best["depth"].iloc[-1] - best["depth"].iloc[0]
                add(key, "spatial_difference", value, "depth", best_layer="argmax")
        else:
            add(key, "score_at_peak", part.loc[part["time"] > 0, "value"].mean(), unit)
            peaks = part.loc[part.groupby("layer")["value"].idxmax()]
            for row in peaks.itertuples():
                add(key, "peak_time", row.time, "s", layer=row.layer, depth=row.depth)
            value = np.corrcoef(peaks["depth"], peaks["time"])[0, 1]
            add(key, "temporal_r", value, "r")
    return pd.DataFrame(rows).reindex(columns=list(HIERARCHY_COLUMNS))


def rsa_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Similarities with the shape of invented scores."""
    raw = scores[scores["measure"] == "r"]
    return raw.assign(rho=raw["value"] / 2, p=0.01, n_images=92)[list(RSA_COLUMNS)]


def claims_table() -> pd.DataFrame:
    """Claims of the invented study, with every verdict."""
    tested = {
        "fmri": ["A1", "P1", "P2", "P5", "C1", "C2"],
        "meg": ["A1", "P1", "P3", "P4", "C1", "C2"],
    }
    rows = []
    for dataset, modality in DATASETS.items():
        for model in MODELS:
            for prediction in tested[modality]:
                signal = "activation" if prediction == "A1" else "gradient_dino"
                for variant in ("raw", "unique"):
                    if (prediction == "A1" and variant == "unique") or (
                        prediction.startswith("C") and variant == "raw"
                    ):
                        continue
                    descriptive = variant == "raw" and prediction in ("P3", "P4", "P5")
                    verdict = "descriptive" if descriptive else "supported"
                    if "untrained" in model and prediction == "C2":
                        verdict = "contradicted"
                    if dataset == "objects92" and variant == "unique":
                        verdict = "undetermined"
                    rows.append(
                        {
                            "prediction": prediction,
                            "dataset": dataset,
                            "model": model,
                            "signal": signal,
                            "variant": variant,
                            "statistic": "score_at_peak",
                            "estimate": 0.123,
                            "unit": "R2" if variant == "unique" else "r",
                            "ci_low": 0.1,
                            "ci_high": 0.15,
                            "p": 0.0156,
                            "p_min": 0.0156,
                            "q": np.nan if descriptive else 0.0004,
                            "q_opposite": np.nan if descriptive else 1.0,
                            "n": 6,
                            "inference": "population",
                            "verdict": verdict,
                            "direction": "greater",
                            "figure": "control_comparison",
                            "source": "ours",
                            "sentence": "The signal explains variance that activations do not.",
                            "note": "",
                        }
                    )
    return pd.DataFrame(rows).reindex(columns=list(CLAIM_COLUMNS))


def maps_dataset(model: str) -> xr.Dataset:
    """Per-target means of one model, to the contract of ``maps/<model>.zarr``."""
    random = np.random.default_rng(3)
    signals, measures = ["activation", "gradient_dino"], ["r", "unique_r2"]
    variables: dict[str, tuple] = {}
    coords: dict[str, object] = {
        "layer": LAYERS,
        "depth": ("layer", DEPTHS),
        "map_signal": signals,
        "map_measure": measures,
    }
    allowed = {"missing_allowed": True}
    areas = area_vertices(tuple(AREA_POSITIONS), per_hemisphere=40)
    place_of = {
        "simulated_fmri_backprop": areas["roi"].map(list(AREA_POSITIONS).index).to_numpy() / 7,
        "simulated_meg_backprop": np.repeat(np.linspace(0, 1, len(TIMES)), SENSORS),
    }
    angle = np.linspace(0, 12 * np.pi, SENSORS)
    radius = np.linspace(0.05, 0.5, SENSORS)
    gain = {"simulated_fmri_backprop": 1.0}
    gain["simulated_meg_backprop"] = np.tile(1 - (0.5 + radius * np.sin(angle)) * 0.7, len(TIMES))
    for dataset, place in place_of.items():
        n_targets = len(place)
        target = f"target_{dataset}"
        score = np.empty((len(LAYERS), 2, 2, n_targets), dtype=np.float32)
        for k, depth in enumerate(DEPTHS):
            bump = gain[dataset] * np.exp(-((place - depth) ** 2) / 0.1)
            score[k] = 0.4 * bump + random.normal(0, 0.02, (2, 2, n_targets))
        score[:, 0, 1] = np.nan
        score[:, 1, 1] *= 0.2
        best = np.full((2, 2, n_targets), np.nan, dtype=np.float32)
        for s, m in ((0, 0), (1, 0), (1, 1)):
            best[s, m] = DEPTHS[score[:, s, m].argmax(axis=0)]
        dims = ("map_signal", "map_measure", target)
        variables[f"score_{dataset}"] = (("layer", *dims), score, allowed)
        variables[f"best_layer_{dataset}"] = (dims, best, allowed)
    fmri, meg = "simulated_fmri_backprop", "simulated_meg_backprop"
    for name in ("vertex", "hemisphere", "roi"):
        coords[f"{name}_{fmri}"] = (f"target_{fmri}", areas[name].to_numpy())
    per_target = {
        "time": np.repeat(TIMES, SENSORS),
        "sensor": np.tile([f"MEG{i:03d}" for i in range(SENSORS)], len(TIMES)),
        "sensor_x": np.tile(0.5 + radius * np.cos(angle), len(TIMES)),
        "sensor_y": np.tile(0.5 + radius * np.sin(angle), len(TIMES)),
    }
    for name, values in per_target.items():
        coords[f"{name}_{meg}"] = (f"target_{meg}", values)
    attrs = {
        "study": STUDY,
        "model": model,
        "datasets": {
            fmri: {"modality": "fmri", "space": "fsaverage5"},
            meg: {"modality": "meg", "space": "sensors"},
        },
        "roles": ROLES,
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def write_study(folder: Path) -> dict[str, list[Path]]:
    """Write all results of the invented study; returns their files by kind."""
    files: dict[str, list[Path]] = {kind: [] for kind in ["scores", "hierarchy", "rsa", "maps"]}
    for model in MODELS:
        scores = scores_table(model)
        tables = {
            "scores": scores,
            "hierarchy": hierarchy_table(scores),
            "rsa": rsa_table(scores),
        }
        for kind, table in tables.items():
            path = folder / kind / f"{model}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_table(path, table)
            files[kind].append(path)
        path = folder / "maps" / f"{model}.zarr"
        write_store(path, maps_dataset(model), kind="maps")
        files["maps"].append(path)
    claims = folder / "claims.csv"
    write_table(claims, claims_table())
    return files | {"claims": [claims]}


def write_responses(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write two small response stores and two score tables, for the counts of the report."""
    responses = []
    for subject, n_targets in (("objects92-s01", 7), ("objects92-s02", 9)):
        path = folder / "responses" / f"{subject}.zarr"
        dataset = xr.Dataset(
            {"response": (("image", "target"), np.ones((4, n_targets), dtype=np.float32))},
            attrs={
                "dataset": "objects92",
                "subject": subject,
                "modality": "fmri",
                "n_masked_targets": 3,
                "licence": "CC BY 4.0",
                "citation": "Cichy et al. 2014",
            },
        )
        write_store(path, dataset, kind="responses")
        responses.append(path)
    scores = []
    for model, shares in (("a", (0.02, 0.134)), ("b", (0.01,))):
        path = folder / "scores" / f"{model}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        unit = {"dataset": "objects92", "roi": "EVC", "time": np.nan, "intersubject_r": np.nan}
        fit = {"model": model, "layer": "blocks.0", "subject": ["s01", "s02"][: len(shares)]}
        table = pd.DataFrame({**unit, **fit, "edge_share": shares})
        # A fit has a row per signal, measure and region.
        write_table(path, pd.concat([table, table], ignore_index=True))
        scores.append(path)
    return responses, scores


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Files of the invented study, by kind of result."""
    return write_study(tmp_path_factory.mktemp("invented"))


@pytest.fixture(scope="session")
def count_stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Response stores and score tables."""
    return write_responses(tmp_path_factory.mktemp("counts"))


@pytest.fixture
def claims() -> pd.DataFrame:
    """Claims of the invented study."""
    return claims_table()


@pytest.fixture(scope="session")
def figure_inputs(study: dict[str, list[Path]]) -> FigureInputs:
    """All results of the invented study, as figures get them."""
    return FigureInputs(study=STUDY, **{kind: tuple(paths) for kind, paths in study.items()})
