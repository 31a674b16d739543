"""A small study, invented to the declared artefacts: two fMRI data sets, one MEG, two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gradbrain.config.model_factors import Contrast, ModelFacts, Pair
from gradbrain.config.schema import StatisticsSettings
from gradbrain.datasets.cortex import AREA_POSITIONS, area_vertices
from gradbrain.encoding.collect import OF_FITS
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.names import Names
from gradbrain.hierarchy.best_layer_scores import best_layer_scores
from gradbrain.hierarchy.model_contrasts import comparable, compare_models
from gradbrain.store import (
    Statistics,
    read_table,
    write_statistics,
    write_store,
    write_table,
    write_tree,
)
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.measures import JUDGED, MAPPED, variants_of

STUDY = "invented"
LAYERS = [f"blocks.{i}" for i in range(5)]
DEPTHS = np.linspace(0.2, 1.0, 5)
TRAINED, UNTRAINED = "mobilenetv2_100_imagenet1k", "mobilenetv2_050_untrained"
MODELS = {
    TRAINED: ("MobileNetV2, ImageNet-1k", "trained"),
    UNTRAINED: ("MobileNetV2 ×0.5, untrained", "untrained"),
}
ROIS = ["V1", "V2", "V3", "V4", "LO", "PHC"]
DISTANCES = dict(zip(ROIS, [0.0, 8.0, 15.0, 27.0, 41.0, 58.0], strict=True))
TIMES = np.round(np.arange(-0.1, 0.6, 0.04), 3)
FMRI, PAIR, MEG = "simulated_fmri_backprop", "objects92", "simulated_meg_backprop"
SUBJECTS = 6
N_DRAWS = 20
SENSORS = 40
MODALITIES = {"fmri": "fMRI", "meg": "MEG", "eeg": "EEG", "ieeg": "intracranial EEG"}


@dataclass(frozen=True)
class Signal:
    """A signal as the registry has it."""

    role: str
    rule: str = "backprop"
    objective: str = ""
    label: str = ""
    colour: str = ""
    control_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A data set: its modality, what it is laid out along, and where its targets live."""

    modality: str
    axis: str
    space: str
    label: str = ""


SIGNALS = {
    "activation": Signal("activation", "activation", label="activation", colour="#0072B2"),
    "gradient_dino": Signal(
        "learning", objective="dino", label="gradient (DINO)", colour="#D55E00"
    ),
    "gradient_feature_norm": Signal(
        "control", objective="feature_norm", label="feature norm", colour="#5B6770",
        control_of=("gradient_dino",),
    ),
    "gradient_fixed_cotangent": Signal(
        "control", objective="fixed_cotangent", label="fixed cotangent", colour="#8FA3B3",
        control_of=("gradient_dino",),
    ),
    "gradient_shuffled_dino": Signal(
        "control", objective="shuffled_cotangent", label="shuffled cotangent (DINO)",
        colour="#A3917F", control_of=("gradient_dino",),
    ),
}  # fmt: skip
PLACES = {
    FMRI: Place("fmri", "roi", "fsaverage5", "simulated fMRI, backprop brain"),
    PAIR: Place("fmri", "roi", "virtual", "92 objects, fMRI (RDMs)"),
    MEG: Place("meg", "time", "sensors", "simulated MEG, backprop brain"),
}


@dataclass(frozen=True)
class Invented:
    """What an invented study holds."""

    signals: Mapping[str, Signal] = field(default_factory=lambda: SIGNALS)
    places: Mapping[str, Place] = field(default_factory=lambda: PLACES)
    models: Mapping[str, tuple[str, str]] = field(default_factory=lambda: MODELS)
    people: int = SUBJECTS

    def of_role(self, role: str) -> list[str]:
        """Names of the signals of a role."""
        return [name for name, signal in self.signals.items() if signal.role == role]

    def units(self, dataset: str) -> list[dict]:
        """Regions or times of a data set."""
        none = {"roi": "", "roi_rank": -1, "distance_mm": np.nan, "time": np.nan}
        none |= {"onset_source": "", "axis": self.places[dataset].axis}
        if none["axis"] == "time":
            return [{**none, "time": float(t)} for t in TIMES]
        if self.places[dataset].space == "virtual":
            return [{**none, "roi": r, "roi_rank": i} for i, r in enumerate(["EVC", "IT"])]
        return [
            {**none, "roi": r, "roi_rank": i, "distance_mm": DISTANCES[r]}
            for i, r in enumerate(ROIS)
        ]

    def identity(self, signal: str) -> dict[str, str]:
        """Columns that say who a signal is."""
        about = self.signals[signal]
        return {
            "signal": signal,
            "role": about.role,
            "rule": about.rule,
            "objective": about.objective,
        }


def _expected(unit: dict, depth: float, role: str, n_rois: int) -> float:
    """Planted score: activations follow the hierarchy, signals come late and last layer first."""
    if unit["axis"] == "roi":
        place = unit["roi_rank"] / (n_rois - 1)
        level = 0.45 if role == "activation" else 0.3 * (0.5 + 0.5 * place)
        return level * np.exp(-((depth - (0.15 + 0.8 * place)) ** 2) / 0.25)
    centre = 0.09 + 0.15 * depth if role == "activation" else 0.45 - 0.12 * depth
    level = 0.3 if role == "activation" else 0.2
    return level * np.exp(-((unit["time"] - centre) ** 2) / (2 * 0.05**2))


def _ceiling(space: str, unit: dict, subject: int) -> float:
    """How well the others predict a subject: not known of virtual voxels."""
    if space == "virtual":
        return np.nan
    if unit["axis"] == "roi":
        return 0.55 - 0.02 * unit["roi_rank"] + 0.01 * (subject - 3)
    return (0.45 + 0.01 * (subject - 3)) * float(np.exp(-((unit["time"] - 0.25) ** 2) / 0.05))


def scores_table(model: str, invented: Invented) -> pd.DataFrame:
    """Scores of one model, and of what its signals are held against."""
    parts = [
        _scores_of_signal(model, dataset, signal, invented)
        for dataset in invented.places
        for signal in invented.signals
    ]
    # Scores of all layers' activations, under a name that a signal may have.
    held_against = {"signal": "all_activations", "role": "baseline", "rule": "", "objective": ""}
    baseline = [parts[0].assign(**held_against, value=9.0)]
    # The activation, which comes first, has r alone: R² of all activations is .3 more than its r².
    of_activation = [part for part in parts if set(part["role"]) == {"activation"}]
    baseline += [
        part.assign(**held_against, measure="r2", value=part["value"] ** 2 + 0.3)
        for part in of_activation
    ]
    squares = [
        part[part["measure"] == "r"].assign(measure="r2", value=lambda rows: rows["value"] ** 2)
        for part in parts
    ]
    # As large as the gain, so that either can be told from r.
    components = [
        part[part["measure"] == "unique_r2"].assign(
            measure="unique_variance", **dict.fromkeys(OF_FITS, np.nan)
        )
        for part in parts
    ]
    found = pd.concat([*parts, *squares, *baseline, *components], ignore_index=True)
    return found[list(columns_of("scores"))]


def _scores_of_signal(model: str, dataset: str, signal: str, invented: Invented) -> pd.DataFrame:
    # A seed for each signal: scores are the same whatever other signals there are.
    random = np.random.default_rng(list(f"{model} {dataset} {signal}".encode()))
    place, role = invented.places[dataset], invented.signals[signal].role
    units = invented.units(dataset)
    scale = {"r": 1.0, "unique_r2": 0.25 if role == "learning" else 0.03}
    rows = []
    for subject in range(1, invented.people + 1):
        for index, (layer, depth) in enumerate(zip(LAYERS, DEPTHS, strict=True)):
            for measure in ["r"] if role == "activation" else ["r", "unique_r2"]:
                for unit in units:
                    expected = _expected(unit, depth, role, len(units))
                    value = scale[measure] * expected + random.normal(0, 0.008)
                    rows.append(
                        {
                            "study": STUDY,
                            "dataset": dataset,
                            "subject": f"{dataset}-s{subject:02d}",
                            "modality": place.modality,
                            "model": model,
                            "layer": layer,
                            "depth": depth,
                            "layer_index": index,
                            **invented.identity(signal),
                            "measure": measure,
                            **unit,
                            "value": value,
                            "boot_low": value - 0.03,
                            "boot_high": value + 0.03,
                            "n_groups": 100,
                            "null_high": 0.04 if measure == "r" else 0.006,
                            "n_targets": 40,
                            "edge_share": 0.01,
                            "n_masked": 0,
                            "band_weight": 0.5,
                            "intersubject_r": _ceiling(place.space, unit, subject),
                        }
                    )
    return pd.DataFrame(rows).reindex(columns=list(columns_of("scores")))


def statistics_of(scores: pd.DataFrame, invented: Invented) -> Statistics:
    """Statistics per subject, derived from invented scores."""
    scores = scores[scores["role"] != "baseline"]
    scores = scores.assign(variant=scores["measure"].map(variants_of(JUDGED)))
    keys = ["study", "dataset", "subject", "modality", "axis", "model", "signal", "role", "rule"]
    keys += ["objective", "variant"]
    rows: list[dict] = []
    draws: list[np.ndarray] = []
    # Draws scatter about the value as images would have it, in the unit of the statistic.
    scatter = {"r": 0.02, "share": 0.004, "depth": 0.05, "s": 0.01}

    def add(key: tuple, statistic: str, value: float, unit: str, **more: object) -> None:
        empty = dict.fromkeys(["layer", "roi", "pole", "best_layer", "control", "coverage"], "")
        empty |= dict.fromkeys(["depth", "distance_mm"], np.nan) | {"onset_source": ""}
        empty |= {"n_groups": 100, "n_folds": 5}
        row = dict(zip(keys, key, strict=True)) | empty | more
        seed = list(f"{key} {statistic} {sorted(more.items())}".encode())
        random = np.random.default_rng(seed)
        draws.append(value + 0.01 + random.normal(0, scatter[unit], N_DRAWS))
        row |= {"value_at_units": value + 0.01}
        rows.append(row | {"statistic": statistic, "value": value, "unit": unit, "n": 5})

    for key, part in scores.groupby(keys):
        signal, role, variant = key[6], key[7], key[-1]
        unit = "r" if variant == "raw" else "share"
        # Nobody knows the ceiling of virtual voxels.
        ceiling = np.nan if invented.places[key[1]].space == "virtual" else 0.4
        available = {"explainable": ceiling, "explained": 0.3} if variant == "unique" else {}
        if role == "learning":
            for control, about in invented.signals.items():
                if signal in about.control_of:
                    add(key, "control_difference", 0.02, unit, control=control, **available)
        if variant == "unique":
            value = 0.03 if role == "learning" else 0.005
            add(key, "unique_variance", value, unit, **available)
        if part["axis"].iloc[0] == "roi":
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
                for statistic in ("peak_time", "peak_time_jackknifed"):
                    add(key, statistic, row.time, "s", layer=row.layer, depth=row.depth)
            value = np.corrcoef(peaks["depth"], peaks["time"])[0, 1]
            add(key, "temporal_r", value, "r")
    boot = np.array(draws)
    table = pd.DataFrame(rows).reindex(columns=list(columns_of("hierarchy")))
    return Statistics(table, boot, np.zeros_like(boot), {})


def time_course_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Times after the image at which a score is high, of invented scores."""
    rows = scores[(scores["axis"] == "time") & (scores["role"] != "baseline")]
    rows = rows.assign(variant=rows["measure"].map(variants_of(JUDGED))).dropna(subset="variant")
    rows = rows[rows["time"] > 0]
    keys = ["study", "dataset", "modality", "model", "signal", "role", "rule", "objective"]
    keys += ["variant", "layer", "depth", "time"]
    mean = rows.groupby(keys, as_index=False).agg(
        mean=("value", "mean"), n_subjects=("subject", "nunique")
    )
    own = mean.groupby(["dataset", "model", "signal", "variant"])["mean"]
    high = mean["mean"] > own.transform("median")
    found = mean.assign(p=np.where(high, 0.01, 0.5), p_min=0.005)
    return found[list(columns_of("time_courses"))]


def rsa_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Similarities with the shape of invented scores."""
    raw = scores[(scores["measure"] == "r") & (scores["role"] != "baseline")]
    return raw.assign(rho=raw["value"] / 2, p=0.01, n_images=92)[list(columns_of("rsa"))]


def fusion_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Fusion of each data set along regions with each along time, shaped as invented scores."""
    raw = scores[(scores["measure"] == "r") & (scores["role"] != "baseline")]
    keys = ["model", "layer", "depth", "layer_index", "signal", "role", "rule", "objective"]
    mean = raw.groupby(
        [*keys, "dataset", "modality", "axis", "roi", "roi_rank", "time", "onset_source"],
        dropna=False,
        as_index=False,
    )["value"].mean()
    space, time = (mean[mean["axis"] == axis] for axis in ("roi", "time"))
    joined = space.drop(columns=["time", "onset_source"]).merge(
        time.drop(columns=["roi", "roi_rank"]), on=keys, suffixes=("", "_of_time")
    )
    rows = joined.rename(columns={"dataset_of_time": "time_dataset"}).assign(
        study=STUDY,
        time_modality=joined["modality_of_time"],
        rho=(joined["value"] * joined["value_of_time"]) ** 0.5,
        common=joined["value"] * joined["value_of_time"] / 2,
        rho_null_high=0.05,
        common_null_high=0.01,
        p=0.01,
        ceiling=0.8,
        n_items=20,
        n_images=60,
        n_subjects=6,
        n_time_subjects=6,
    )
    levels = [rows.assign(level=level) for level in ("concepts", "test_images")]
    return pd.concat(levels, ignore_index=True)[list(columns_of("fusion"))]


# What measures of scores are called among dissimilarities.
RDM_MEASURES = {"r": "rdm_r", "unique_r2": "unique_rdm_r"}


def prediction_rsa_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Dissimilarities of predictions with the shape of invented scores, baseline included."""
    rows = scores.assign(
        measure=scores["measure"].map(RDM_MEASURES),
        value=1.5 * scores["value"],
        ceiling_low=scores["intersubject_r"],
        ceiling_high=scores["intersubject_r"] + 0.1,
    )
    return rows[list(columns_of("prediction_rsa"))]


def second_opinions_table(invented: Invented) -> pd.DataFrame:
    """Second opinions on the invented claims: P2 is undetermined, unique parts are described."""
    claims = claims_table(invented)
    described = (claims["variant"] == "unique") | (claims["verdict"] == "descriptive")
    verdict = claims["verdict"].mask(claims["prediction"] == "P2", "undetermined")
    verdict = verdict.mask(described, "descriptive")
    agreement = pd.Series("agrees", claims.index).mask(verdict == "undetermined", "first_only")
    found = claims.assign(
        first_verdict=claims["verdict"],
        verdict=verdict,
        reason=np.where(claims["variant"] == "unique", "reweighting", ""),
        agreement=agreement.mask(described, ""),
    )
    return found[list(columns_of("second_opinions"))]


def reliability_table(model: str, invented: Invented) -> pd.DataFrame:
    """Reliabilities of one model: of all signals that are sent back, and nothing at the last layer.

    Subjects of the second stimulus set saw images of their own.
    """
    rows = []
    for stimuli, lower in (("pictures", 0.0), ("others", 0.04)):
        for signal, about in invented.signals.items():
            for layer, depth in zip(LAYERS, DEPTHS, strict=True):
                whole = (0.95 if about.role == "learning" else 0.7) - lower
                whole = whole if layer != LAYERS[-1] else np.nan
                rows.append(
                    {
                        "study": STUDY,
                        "model": model,
                        "signal_set": "invented",
                        "stimuli": stimuli,
                        "layer": layer,
                        "depth": depth,
                        **invented.identity(signal),
                        "split_half": whole,
                        "reliability": whole,
                        "unique_split_half": whole - 0.2 * depth,
                        "unique_reliability": whole - 0.2 * depth,
                        "n_images": 128,
                        "n_training_images": 80,
                    }
                )
    table = pd.DataFrame(rows)
    return table[table["role"] != "activation"].reset_index(drop=True)


def claims_table(invented: Invented) -> pd.DataFrame:
    """Claims of the invented study, with every verdict."""
    tested = {
        "roi": ["A1", "P1", "P2", "P5", "C1", "C2"],
        "time": ["A1", "P1", "P3", "P4", "C1", "C2"],
    }
    rows = []
    for dataset, place in invented.places.items():
        for model in invented.models:
            for prediction in tested[place.axis]:
                for signal in invented.of_role("activation" if prediction == "A1" else "learning"):
                    for variant in ("raw", "unique"):
                        if (prediction == "A1" and variant == "unique") or (
                            prediction.startswith("C") and variant == "raw"
                        ):
                            continue
                        descriptive = variant == "raw" and prediction in ("P3", "P4", "P5")
                        verdict = "descriptive" if descriptive else "supported"
                        if model == UNTRAINED and prediction == "C2":
                            verdict = "contradicted"
                        if place.space == "virtual" and variant == "unique":
                            verdict = "undetermined"
                        rows.append(
                            {
                                "prediction": prediction,
                                "dataset": dataset,
                                "modality": place.modality,
                                "axis": place.axis,
                                "model": model,
                                **invented.identity(signal),
                                "variant": variant,
                                "statistic": "score_at_peak",
                                "estimate": 0.123,
                                "unit": "R2" if variant == "unique" else "r",
                                "n_groups": 100,
                                "interval_note": "",
                                "ci_low": 0.1,
                                "ci_high": 0.15,
                                "p": 0.0156,
                                "p_min": 0.0156,
                                "q": np.nan if descriptive else 0.0004,
                                "q_opposite": np.nan if descriptive else 1.0,
                                "n": 6,
                                "n_subjects": 6,
                                "inference": "population",
                                "verdict": verdict,
                                "reason": "",
                                "coverage": "",
                                "direction": "greater",
                                "figure": "control_comparison",
                                "source": "ours",
                                "sentence": "The signal explains variance that activations do not.",
                                "control": "",
                                "reliability": np.nan if prediction == "A1" else 0.93,
                                "unique_reliability": np.nan if prediction == "A1" else 0.8,
                                "least_reliable": "" if prediction == "A1" else signal,
                                "reliability_threshold": 0.9,
                            }
                        )
    return pd.DataFrame(rows).reindex(columns=list(columns_of("claims")))


# Universe -> its kind, and its levels of pooling and of the seed.
UNIVERSES = {
    "base": ("base", "mean", "zero"),
    "grid": ("one_at_a_time", "grid", "zero"),
    "seeded": ("one_at_a_time", "mean", "one"),
    "both": ("combination", "grid", "one"),
}
FACTORS = {"pooling": ("mean", "grid"), "seed": ("zero", "one")}
# (universe, prediction) -> verdict, where it differs from that of the study.
MOVED = {
    ("grid", "P1"): "undetermined",
    ("both", "P1"): "undetermined",
    ("seeded", "A1"): "contradicted",
    ("both", "C1"): "contradicted",
}


def universes_table() -> pd.DataFrame:
    """The invented study as it is, with another pooling, with another seed, and with both."""
    rows = [
        {
            "universe": universe,
            "kind": kind,
            "factor": factor,
            "factor_label": f"the {factor}",
            "factor_order": order,
            "level": level,
            "level_label": f"{level} {factor}",
            "level_order": FACTORS[factor].index(level),
            "fit": universe,
            "signal_set": universe,
        }
        for universe, (kind, *levels) in UNIVERSES.items()
        for order, (factor, level) in enumerate(zip(FACTORS, levels, strict=True))
    ]
    return pd.DataFrame(rows)


def specification_table(invented: Invented) -> pd.DataFrame:
    """Claims of the invented study in all universes: estimates fall from one to the next.

    What :data:`MOVED` says has another verdict; P2 was never tested with another seed.
    """
    claims = claims_table(invented)
    judged = claims["verdict"] != "descriptive"
    found = []
    for place, universe in enumerate(UNIVERSES):
        told = [MOVED.get((universe, name)) for name in claims["prediction"]]
        verdict = pd.Series(told, index=claims.index, dtype=object).where(judged)
        lacking = (claims["prediction"] == "P2") & ("one" in UNIVERSES[universe])
        found.append(
            claims.assign(
                universe=universe,
                estimate=(claims["estimate"] - 0.01 * place).mask(lacking),
                verdict=verdict.fillna(claims["verdict"]),
            )
        )
    return pd.concat(found, ignore_index=True)[list(columns_of("specification_curve"))]


def _scores_of_maps(place: np.ndarray, shape: tuple[int, ...], gain: np.ndarray, signals: list):
    """Scores of shape (layer, signal, measure, *shape): a bump that moves with depth."""
    score = np.empty((len(LAYERS), len(signals), 2, *shape), dtype=np.float32)
    for s, (name, signal) in enumerate(signals):
        random = np.random.default_rng(list(name.encode()))
        for k, depth in enumerate(DEPTHS):
            bump = gain * np.exp(-((place - depth) ** 2) / 0.1)
            score[k, s] = 0.4 * bump + random.normal(0, 0.02, (2, *shape))
        score[:, s, 1] = np.nan if signal.role == "activation" else 0.2 * score[:, s, 1]
    return score


def maps_group(dataset: str, invented: Invented) -> xr.Dataset:
    """Per-target means of one data set and model."""
    place = invented.places[dataset]
    signals = list(invented.signals.items())
    if place.axis == "roi":
        areas = area_vertices(tuple(AREA_POSITIONS), per_hemisphere=40)
        along = areas["roi"].map(list(AREA_POSITIONS).index).to_numpy() / 7
        dims: tuple[str, ...] = ("target",)
        gain = np.ones(len(areas))
        coords: dict[str, object] = {
            name: ("target", areas[name].to_numpy().astype(str if name != "vertex" else int))
            for name in ("vertex", "hemisphere", "roi")
        }
    else:
        angle = np.linspace(0, 12 * np.pi, SENSORS)
        radius = np.linspace(0.05, 0.5, SENSORS)
        along = np.repeat(np.linspace(0, 1, len(TIMES))[:, None], SENSORS, axis=1)
        dims = ("time", "sensor")
        gain = np.tile(1 - (0.5 + radius * np.sin(angle)) * 0.7, (len(TIMES), 1))
        coords = {
            "time": ("time", TIMES),
            "sensor": ("sensor", np.array([f"S{i:03d}" for i in range(SENSORS)])),
        }
        if place.space == "sensors":
            coords["sensor_x"] = ("sensor", 0.5 + radius * np.cos(angle))
            coords["sensor_y"] = ("sensor", 0.5 + radius * np.sin(angle))
        else:
            coords["subject"] = ("sensor", np.array([f"{dataset}-s01"] * SENSORS))
    score = _scores_of_maps(along, along.shape, gain, signals)
    best = np.where(np.isfinite(score).all(axis=0), DEPTHS[score.argmax(axis=0)], np.nan)
    allowed = {"missing_allowed": True}
    coords |= {
        "signal": ("signal", np.array([name for name, _ in signals])),
        "measure": ("measure", np.array([measure.name for measure in MAPPED.values()])),
    }
    for name in ("role", "rule", "objective"):
        coords[name] = ("signal", np.array([getattr(signal, name) for _, signal in signals]))
    return xr.Dataset(
        {
            "score": (("layer", "signal", "measure", *dims), score, allowed),
            "best_layer": (("signal", "measure", *dims), best.astype(np.float32), allowed),
        },
        coords=coords,
        attrs={
            "dataset": dataset,
            "modality": place.modality,
            "axis": place.axis,
            "space": place.space,
            "sensors": "sensors",
            "rotation_invariant": False,
            "onset_source": "",
            "n_subjects": invented.people,
        },
    )


def maps_tree(model: str, invented: Invented) -> xr.DataTree:
    """Per-target means of one model, a group for each data set whose targets have a place."""
    root = xr.Dataset(
        coords={"layer": ("layer", np.array(LAYERS)), "depth": ("layer", DEPTHS)},
        attrs={"study": STUDY, "model": model},
    )
    groups = {
        f"/{dataset}": maps_group(dataset, invented)
        for dataset, place in invented.places.items()
        if place.space != "virtual"
    }
    return xr.DataTree.from_dict({"/": root, **groups})


def entries_table(invented: Invented) -> pd.DataFrame:
    """What readers see of the invented study, as ``entries.csv`` has it."""
    rows: list[dict] = []

    def add(kind: str, order: int, name: str, **more: str) -> None:
        empty = dict.fromkeys(columns_of("entries"), "")
        rows.append(empty | {"kind": kind, "name": name, "order": order} | more)

    for order, (name, (label, group)) in enumerate(invented.models.items()):
        add("model", order, name, label=label, group=group)
    for order, (name, place) in enumerate(invented.places.items()):
        add("dataset", order, name, label=place.label, group=place.axis)
    for order, (name, label) in enumerate(MODALITIES.items()):
        add("modality", order, name, label=label)
    for order, (name, signal) in enumerate(invented.signals.items()):
        about = {"label": signal.label, "colour": signal.colour, **invented.identity(name)}
        del about["signal"]
        for control_of in signal.control_of or ("",):
            add("signal", order, name, control_of=control_of, **about)
    return pd.DataFrame(rows)


def training_table(model: str) -> pd.DataFrame:
    """A network of two layers that learns to be told what the gradient says, corrected or not."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "learning_rule": "difference_target_propagation",
                "seed": 0,
                "step": step,
                "layer": f"layer{place}",
                "depth": (place + 1) / 2,
                "correction": correction,
                "angle": 0.0 if place else (90 - step if correction == "corrected" else 100.0),
                "turn": 20.0,
                "weight_angle": np.nan,
                "inverse_r2": np.nan if place else step / 100,
                "loss": 1 - step / 100,
                "r2": step / 100,
            }
            for correction in ("corrected", "uncorrected")
            for step in (0, 20, 50)
            for place in range(2)
        ]
    )


def alikeness_table(model: str, invented: Invented) -> pd.DataFrame:
    """Signals that are the less alike, the further apart they are listed, and the deeper."""
    # A study of one rule compares nothing: another one stands beside it.
    identities = {
        **{
            name: invented.identity(name)
            for name, one in invented.signals.items()
            if one.role != "activation"
        },
        "another_rule": {
            "signal": "another_rule",
            "role": "learning",
            "rule": "sign_symmetry",
            "objective": "dino",
        },
    }
    signals = list(identities)
    return pd.DataFrame(
        [
            {
                "study": STUDY,
                "model": model,
                "stimuli": "invented",
                "layer": f"layer{place}",
                "depth": (place + 1) / 3,
                **identities[signal],
                "other": other,
                "cosine": 1 - 0.2 * abs(signals.index(signal) - signals.index(other)) - 0.1 * place,
                "same_as": "",
            }
            for place in range(3)
            for signal in signals
            for other in signals
            if other != signal
        ]
    )


def rule_pairs_table(model: str, invented: Invented) -> pd.DataFrame:
    """What every signal explains beside every other: learning signals .02, controls .001."""
    signals = [name for name, one in invented.signals.items() if one.role != "activation"]
    rows = []
    for dataset, place in invented.places.items():
        ceiling = np.nan if place.space == "virtual" else 0.4
        for subject in range(1, invented.people + 1):
            # The mean over people is that of the signal.
            factor = 1 + 0.1 * (subject - (invented.people + 1) / 2)
            for signal in signals:
                mean = 0.02 if invented.signals[signal].role == "learning" else 0.001
                for other in signals:
                    if other == signal:
                        continue
                    for layer, depth in zip(LAYERS, DEPTHS, strict=True):
                        rows += [
                            {
                                "study": STUDY,
                                "dataset": dataset,
                                "subject": f"{dataset}-s{subject:02d}",
                                "modality": place.modality,
                                "model": model,
                                "layer": layer,
                                "depth": depth,
                                **invented.identity(signal),
                                "other": other,
                                **unit,
                                "component": mean * factor,
                                "null_high": 0.005,
                                "explainable": ceiling,
                            }
                            for unit in invented.units(dataset)
                        ]
    return pd.DataFrame(rows, columns=list(columns_of("rule_pairs")))


def contrasts_table(files: Mapping[str, list[Path]]) -> pd.DataFrame:
    """Every model but the first, held against the first: contrasts of one pair each."""
    scores, rsa, predictions = (files[kind] for kind in ("scores", "rsa", "prediction_rsa"))
    tables = {"encoding": scores, "rsa": rsa, "encoding_rsa": predictions}
    names = [path.stem for path in scores]
    # A lone model is held against itself.
    contrasts = [
        Contrast(
            f"diet: {name} - {names[0]}", "diet", name, names[0], (Pair((name,), (names[0],)),)
        )
        for name in names[1:] or names
    ]
    found = {
        method: pd.concat(
            [best_layer_scores(comparable(read_table(path), method)) for path in paths]
        )
        for method, paths in tables.items()
    }
    facts = [ModelFacts(name, "mobilenetv2_100", parameters=3.5) for name in names]
    settings = StatisticsSettings()
    return compare_models(found, contrasts, facts, settings, study=STUDY)


def write_study(folder: Path, invented: Invented) -> dict[str, list[Path]]:
    """Write all results of an invented study; returns their files by kind."""
    kinds = ["scores", "hierarchy", "hierarchy_draws", "time_courses", "rsa", "maps", "reliability"]
    kinds += ["prediction_rsa", "training", "alikeness", "rule_pairs", "fusion"]
    files: dict[str, list[Path]] = {kind: [] for kind in kinds}
    for model in invented.models:
        scores = scores_table(model, invented)
        tables = {"scores": scores, "rsa": rsa_table(scores)}
        tables["prediction_rsa"] = prediction_rsa_table(scores)
        tables["fusion"] = fusion_table(scores)
        tables["reliability"] = reliability_table(model, invented)
        tables["training"] = training_table(model)
        tables["alikeness"] = alikeness_table(model, invented)
        tables["rule_pairs"] = rule_pairs_table(model, invented)
        tables["time_courses"] = time_course_table(scores)
        for kind, table in tables.items():
            files[kind].append(folder / kind / f"{model}.parquet")
            files[kind][-1].parent.mkdir(parents=True, exist_ok=True)
            write_table(files[kind][-1], table, kind=kind)
        statistics = statistics_of(scores, invented)
        table, draws = write_hierarchy(folder / "hierarchy", model, statistics)
        files["hierarchy"].append(table)
        files["hierarchy_draws"].append(draws)
        files["maps"].append(folder / "maps" / f"{model}.zarr")
        write_tree(files["maps"][-1], maps_tree(model, invented), kind="maps")
    claims, entries = folder / "claims.csv", folder / "entries.csv"
    write_table(claims, claims_table(invented), kind="claims")
    write_table(entries, entries_table(invented), kind="entries")
    universes, curve = folder / "universes.csv", folder / "specification_curve.csv"
    write_table(universes, universes_table(), kind="universes")
    write_table(curve, specification_table(invented), kind="specification_curve")
    second = folder / "second_opinions.csv"
    write_table(second, second_opinions_table(invented), kind="second_opinions")
    contrasts = folder / "model_contrasts.csv"
    write_table(contrasts, contrasts_table(files), kind="model_contrasts")
    own = {"claims": [claims], "entries": [entries], "second_opinions": [second]}
    own |= {"model_contrasts": [contrasts]}
    return files | own | {"universes": [universes], "specification_curve": [curve]}


def write_hierarchy(folder: Path, model: str, statistics: Statistics) -> tuple[Path, Path]:
    """Write statistics of one model, and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    table, draws = folder / f"{model}.parquet", folder / f"{model}.zarr"
    write_statistics(table, draws, statistics, attrs={"study": STUDY, "model": model})
    return table, draws


def inputs_of(files: Mapping[str, list[Path]]) -> FigureInputs:
    """Results of an invented study, as figures get them."""
    (entries,) = files["entries"]
    given = {kind: tuple(paths) for kind, paths in files.items() if kind != "entries"}
    return FigureInputs(study=STUDY, names=Names.read(entries), **given)


#: What a score table holds beside what is counted.
SHOWN_SCORE = {
    "modality": "fmri",
    "axis": "roi",
    "measure": "r",
    "signal": "gradient_dino",
    "role": "learning",
    "depth": 0.5,
    "roi_rank": 0,
    "value": 0.25,
}


def write_responses(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write two small response stores and two score tables, for the counts of the report."""
    responses = []
    for subject, n_targets in (("objects92-s01", 7), ("objects92-s02", 9)):
        path = folder / "responses" / f"{subject}.zarr"
        dataset = xr.Dataset(
            {
                "response": (("image", "target"), np.ones((4, n_targets), dtype=np.float32)),
                "n_repeats": ("image", np.ones(4, dtype=int)),
            },
            coords={
                "image_id": ("image", np.array(list("abcd"))),
                "group": ("image", np.array(list("abcd"))),
            },
            attrs={
                "dataset": "objects92",
                "subject": subject,
                "modality": "fmri",
                "axis": "roi",
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
        unit |= SHOWN_SCORE
        fit = {"model": model, "layer": "blocks.0", "subject": ["s01", "s02"][: len(shares)]}
        table = pd.DataFrame({**unit, **fit, "edge_share": shares, "n_masked": 0})
        # A fit has a row per signal, measure and region, and a share per signal.
        write_table(
            path,
            pd.concat([table, table.assign(edge_share=0.001)], ignore_index=True),
        )
        scores.append(path)
    return responses, scores
