"""Adapter ``simulated``: brains whose responses are planted from the features of a network.

Two worlds with a known answer test the whole study. In ``feedforward`` regions and latencies
follow the activations of the planting model's layers; in ``backprop`` the learning signal of the
same layers is added: in the same region, or along time late, last layer first. Positions are
real (fsaverage5 vertices, a sensor layout), readouts are random and each subject's own. Nothing
of what was planted enters the response store: the study must find it out.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator

from gradbrain.config.plugins import PluginOptions
from gradbrain.config.schema import DatasetEntry, Name
from gradbrain.datasets.cortex import (
    AREA_POSITIONS,
    EARLY_AREAS,
    HIGH_AREAS,
    REFERENCE_AREA,
    area_vertices,
)
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.noise_ceiling import average_repeats
from gradbrain.datasets.photographs import Options as PhotographOptions
from gradbrain.datasets.photographs import crops, missing_photographs
from gradbrain.datasets.responses import (
    describe,
    region_distances,
    sensor_responses,
    target_responses,
)
from gradbrain.datasets.sensors import sensor_layout, smooth_patterns
from gradbrain.store import open_tree
from gradbrain.vocabulary.artefacts import SIGNALS
from gradbrain.vocabulary.roles import ACTIVATION, ROI, TIME

IMAGE_OPTIONS = ("images",)


class Options(PluginOptions):
    """Options of a simulated brain."""

    world: Literal["feedforward", "backprop"]
    planting_model: Name = Field(description="Entry of models.yaml whose features are planted.")
    planting_signal_set: Name = Field(description="Entry of signals.yaml that holds the signals.")
    planting_layers: tuple[str, ...] = Field(
        min_length=2, description="Layers planted, from the input to the output."
    )
    learning_signal: str | None = Field(
        None, description="Learning signal that the world `backprop` plants as well."
    )
    learning_gain: float = Field(
        1.5, gt=0, description="Standard deviation of the learning signal / of the activation."
    )
    n_repeats: int = Field(3, ge=2, description="Presentations of each image.")
    noise_sd: float = Field(
        1.2, gt=0, description="Noise of one presentation / sd of the planted activation."
    )
    seed: int = Field(0, ge=0)
    images: PhotographOptions = Field(PhotographOptions(), description="The crops that are shown.")
    # Along regions.
    regions: tuple[str, ...] = Field(
        tuple(AREA_POSITIONS), min_length=2, description="Visual areas, from low to high."
    )
    vertices_per_region: int = Field(20, ge=2, description="Vertices per region and hemisphere.")
    # Along time.
    layout: str = Field("Vectorview-mag", description="Sensor layout of mne.")
    n_sensors: int | None = Field(48, ge=3, description="Sensors kept; none: the whole layout.")
    tmin: float = Field(-0.1, description="First sample, s from image onset.")
    tmax: float = Field(0.8, description="Last sample, s from image onset.")
    sfreq: float = Field(25.0, gt=0, description="Samples per second.")
    first_peak: float = Field(0.08, gt=0, description="Latency of the first layer, s.")
    layer_delay: float = Field(0.045, gt=0, description="Latency from layer to layer, s.")
    feedback_delay: float = Field(
        0.1, gt=0, description="From the last activation to the first learning signal, s."
    )
    peak_width: float = Field(0.035, gt=0, description="Standard deviation of a time course, s.")
    sources_per_layer: int = Field(4, ge=1, description="Independent sources per layer.")
    pattern_length: float = Field(
        0.4, gt=0, description="Smoothness of sensor patterns; the layout's radius is 1."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if (self.world == "backprop") != (self.learning_signal is not None):
            raise ValueError(
                "learning_signal: name one for the world `backprop`, none for `feedforward`"
            )
        if len(set(self.planting_layers)) != len(self.planting_layers):
            raise ValueError("planting_layers: name each layer once")
        unknown = [name for name in self.regions if name not in AREA_POSITIONS]
        if unknown:
            raise ValueError(f"regions: {unknown} unknown; known: {', '.join(AREA_POSITIONS)}")
        if REFERENCE_AREA not in self.regions:
            raise ValueError(f"regions: {REFERENCE_AREA} must be among them; distances start there")
        if not self.tmin < 0 < self.tmax:
            raise ValueError(f"tmin ({self.tmin}) and tmax ({self.tmax}) must enclose the onset, 0")
        return self


def stimuli(entry: DatasetEntry, options: Options, name: str, data: Path) -> pd.DataFrame:
    """Return the crops shown; where each subject has a set of its own, each has its own crops."""
    images = options.images
    if entry.stimuli is None:
        images = images.model_copy(update={"seed": _seed(images.seed, "crops", name)})
    return crops(images, name=name)


def check(entry: DatasetEntry, options: Options, data: Path) -> list[str]:
    """List missing photographs, and a modality without responses."""
    problems = missing_photographs(options.images)
    if entry.axis is None:
        problems.append(_no_responses(entry))
    return problems


def required_features(entry: DatasetEntry, options: Options) -> list[tuple[str, str, str]]:
    """Name the feature stores that are planted, one per layer, in the order of the layers."""
    return [
        (options.planting_model, layer, options.planting_signal_set)
        for layer in options.planting_layers
    ]


def space(entry: DatasetEntry, options: Options) -> str:
    """Name the space that the responses live in."""
    return "fsaverage5" if entry.axis == ROI else "sensors"


def provenance(entry: DatasetEntry, options: Options) -> dict[str, Any]:
    """Return what was planted: for the file beside the store, which no rule reads."""
    truth: dict[str, Any] = {"options": options.model_dump(mode="json")}
    if entry.axis == ROI:
        truth["layer_of_region"] = layer_of_region(options)
    else:
        forward, backward = latencies(options)
        truth["activation_latency_s"] = dict(zip(options.planting_layers, forward, strict=True))
        if options.world == "backprop":
            truth["learning_latency_s"] = dict(zip(options.planting_layers, backward, strict=True))
    return {"planted": truth}


def responses(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    stimuli: pd.DataFrame,
    data: Path,
    features: Sequence[Path],
) -> xr.Dataset:
    """Simulate one subject.

    Parameters
    ----------
    features
        Feature stores of the planting model for these stimuli, one per planting layer, in any
        order.

    Raises
    ------
    DatasetError
        A feature store is missing, superfluous, of other images, or lacks a planted signal.
    """
    planted = read_planted(entry, options, stimuli, features)
    rng = np.random.default_rng(_seed(options.seed, entry.name, subject))
    if entry.axis == ROI:
        return _along_regions(entry, options, subject, stimuli, planted, rng)
    if entry.axis == TIME:
        return _along_time(entry, options, subject, stimuli, planted, rng)
    raise DatasetError(_no_responses(entry))


def layer_of_region(options: Options) -> dict[str, str]:
    """Assign layers to regions: evenly, from the first to the last of both."""
    positions = np.linspace(0, len(options.planting_layers) - 1, len(options.regions))
    # Halves are rounded up, not to even, so that the steps are as even as they can be.
    indices = np.floor(positions + 0.5).astype(int)
    return {
        region: options.planting_layers[index]
        for region, index in zip(options.regions, indices, strict=True)
    }


def latencies(options: Options) -> tuple[list[float], list[float]]:
    """Peak latencies, in s, of each layer's activation and of its learning signal.

    Activations rise with depth. Learning signals begin `feedback_delay` after the last activation
    and fall with depth: the last layer comes first.
    """
    depth = np.arange(len(options.planting_layers))
    forward = options.first_peak + options.layer_delay * depth
    backward = forward[-1] + options.feedback_delay + options.layer_delay * depth[::-1]
    return forward.round(6).tolist(), backward.round(6).tolist()


def sample_times(options: Options) -> np.ndarray:
    """Sample times in s: multiples of the sampling step, so that the onset is one of them."""
    first = int(np.ceil(options.tmin * options.sfreq - 1e-9))
    last = int(np.floor(options.tmax * options.sfreq + 1e-9))
    return np.arange(first, last + 1) / options.sfreq


def readout(features: np.ndarray, n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Read features out at random: each channel is a random direction of standardised features.

    Parameters
    ----------
    features : ndarray, shape (n_images, n_features)
        Features that are constant over images are left out.
    n_channels
        Channels to read.

    Returns
    -------
    ndarray of float64, shape (n_images, n_channels)
        Mean 0 and variance 1 over images.
    """
    deviations = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    scale = deviations.std(axis=0)
    varies = scale > 1e-7 * scale.max(initial=0)
    if not varies.any():
        raise DatasetError("the features planted do not vary over images")
    channels = (deviations[:, varies] / scale[varies]) @ rng.standard_normal(
        (int(varies.sum()), n_channels)
    )
    return channels / channels.std(axis=0)


@dataclass(frozen=True)
class Planted:
    """What is planted: one array (n_images, n_features) per planting layer, in their order.

    Attributes
    ----------
    activations
        Of every world.
    learning
        The learning signal of the world `backprop`; None in the other.
    """

    activations: list[np.ndarray]
    learning: list[np.ndarray] | None


def read_planted(
    entry: DatasetEntry, options: Options, stimuli: pd.DataFrame, features: Sequence[Path]
) -> Planted:
    """Read the planted signals of each layer, rows in the order of the stimuli.

    Raises
    ------
    DatasetError
        A feature store is missing, superfluous, of other images, or lacks a planted signal.
    """
    by_layer: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for path in features:
        tree = open_tree(path, kind="features")
        layer = str(tree.attrs.get("layer"))
        found = (tree.attrs.get("model"), layer, tree.attrs.get("signal_set"))
        if found not in required_features(entry, options) or layer in by_layer:
            raise DatasetError(
                f"{path}: holds model, layer, signal set {found}; data set {entry.name!r} plants "
                f"{options.planting_model!r}, {options.planting_signal_set!r} and each once of "
                f"the layers {', '.join(options.planting_layers)}"
            )
        images = tree.dataset["image_id"].values
        rows = pd.Index(images).get_indexer(pd.Index(stimuli["image_id"]))
        if (rows < 0).any():
            first = stimuli["image_id"].iloc[int(np.argmax(rows < 0))]
            raise DatasetError(
                f"{path}: lacks {int((rows < 0).sum())} of {len(stimuli)} stimuli, e.g. "
                f"{first!r}; extract the features of this stimulus set again"
            )
        by_layer[layer] = _planted_signals(tree, options, path, rows)
    lacking = [layer for layer in options.planting_layers if layer not in by_layer]
    if lacking:
        raise DatasetError(
            f"data set {entry.name!r}: no features of the planting layer(s) {', '.join(lacking)} "
            f"of {options.planting_model!r} were given; pass them with --features"
        )
    in_order = [by_layer[layer] for layer in options.planting_layers]
    learning = [values for _, values in in_order if values is not None]
    return Planted([values for values, _ in in_order], learning or None)


def _planted_signals(
    tree: xr.DataTree, options: Options, path: Path, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Activation, known by its role, and the learning signal that the options name."""
    names, roles_of_names = tree.dataset["signal"].values, tree.dataset["role"].values
    roles = dict(zip(map(str, names), map(str, roles_of_names), strict=True))
    activations = [name for name, role in roles.items() if role == ACTIVATION]
    lacking = [] if activations else ["one of `role: activation`"]
    if options.learning_signal is not None and options.learning_signal not in roles:
        lacking.append(options.learning_signal)
    if lacking:
        raise DatasetError(
            f"{path}: lacks the signal(s) {', '.join(lacking)}; it has {', '.join(roles)}. Add "
            f"them to the signal set {options.planting_signal_set!r}, or name another in "
            "`learning_signal`"
        )
    signals = tree.children[SIGNALS].to_dataset(inherit=False)
    activation = signals[activations[0]].values[rows]
    if options.learning_signal is None:
        return activation, None
    return activation, signals[options.learning_signal].values[rows]


def _no_responses(entry: DatasetEntry) -> str:
    return (
        f"data set {entry.name!r}: modality is 'none', but brains are simulated along regions or "
        "along time; name a modality, e.g. fmri or meg, in datasets.yaml"
    )


def _along_regions(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    stimuli: pd.DataFrame,
    planted: Planted,
    rng: np.random.Generator,
) -> xr.Dataset:
    targets = area_vertices(options.regions, per_hemisphere=options.vertices_per_region)
    truth = np.zeros((len(stimuli), len(targets)))
    for region, layer in layer_of_region(options).items():
        index = options.planting_layers.index(layer)
        own = np.flatnonzero(targets["roi"] == region)
        truth[:, own] = readout(planted.activations[index], len(own), rng)
        if planted.learning is not None:
            learning = readout(planted.learning[index], len(own), rng)
            truth[:, own] += options.learning_gain * learning
    average, ceiling = _measure(truth, options, rng)
    attrs = describe(
        entry,
        subject,
        units="standard deviations of the planted activation",
        space="fsaverage5",
        preprocessing=f"simulated; {options.n_repeats} noisy presentations averaged",
        roi_order=options.regions,
        early_rois=[name for name in options.regions if name in EARLY_AREAS],
        high_rois=[name for name in options.regions if name in HIGH_AREAS],
    )
    return target_responses(
        average,
        targets,
        stimuli=stimuli,
        n_repeats=options.n_repeats,
        noise_ceiling=ceiling,
        attrs={**attrs, "roi_distance": region_distances(targets, REFERENCE_AREA)},
    )


def _along_time(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    stimuli: pd.DataFrame,
    planted: Planted,
    rng: np.random.Generator,
) -> xr.Dataset:
    sensors = sensor_layout(options.layout, n_sensors=options.n_sensors)
    positions = sensors[["sensor_x", "sensor_y"]].to_numpy()
    time = sample_times(options)
    forward, backward = latencies(options)
    courses = [(planted.activations, forward, 1.0)]
    if planted.learning is not None:
        courses.append((planted.learning, backward, options.learning_gain))
    truth = np.zeros((len(stimuli), len(time), len(sensors)))
    for (signals, peaks, gain), index in itertools.product(
        courses, range(len(options.planting_layers))
    ):
        sources = readout(signals[index], options.sources_per_layer, rng)
        patterns = smooth_patterns(
            positions, options.sources_per_layer, length=options.pattern_length, rng=rng
        )
        course = np.exp(-((time - peaks[index]) ** 2) / (2 * options.peak_width**2))
        course[time < 0] = 0
        truth += gain * course[None, :, None] * (sources @ patterns)[:, None, :]
    average, ceiling = _measure(truth, options, rng)
    attrs = describe(
        entry,
        subject,
        units="standard deviations of the planted activation at its peak",
        space="sensors",
        preprocessing=f"simulated; {options.n_repeats} noisy presentations averaged",
    )
    return sensor_responses(
        average,
        sensors,
        time=time,
        stimuli=stimuli,
        n_repeats=options.n_repeats,
        noise_ceiling=ceiling,
        attrs=attrs,
    )


def _measure(
    truth: np.ndarray, options: Options, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Add noise to each presentation; return the average and its ceiling, seen from the repeats."""
    noise = rng.standard_normal((options.n_repeats, *truth.shape), dtype=np.float32)
    return average_repeats(truth + options.noise_sd * noise)


def _seed(*parts: int | str) -> int:
    """Derive a seed from names, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4])
