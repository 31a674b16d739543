"""Adapter ``simulated``: brains whose responses are planted from the features of a network.

Three worlds with a known answer test the whole study. In ``feedforward`` regions and latencies
follow the activations of the planting model's layers. In ``backprop`` the learning signal of the
same layers is added as backpropagation would have it: in the same regions, and along time late,
last layer first. In ``paper_pattern`` it is added as Raugel et al. 2026 (arXiv:2605.28693,
abstract) describe the brain: late and in higher regions, but in neither the order nor the places
of backpropagation. Each world is a preset of the options of its learning signal.

How much is planted is calibrated before anything is fitted: ``explainable_variance`` is the share
of signal in the averaged responses, ``learning_share`` that of the learning signal in the signal.
Positions are real (fsaverage5 vertices, a sensor layout), readouts are random and each subject's
own. Nothing of what was planted enters the response store: the study must find it out.
"""

from __future__ import annotations

import hashlib
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
from gradbrain.datasets.adapter import DatasetAdapter
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
from gradbrain.store import open_tree, stimuli_digests
from gradbrain.store.stimuli_identity import DIGEST, DIGESTS, check_same_pictures
from gradbrain.vocabulary.artefacts import SIGNALS
from gradbrain.vocabulary.roles import ACTIVATION, ROI, TIME

#: What the data can answer, in the table of docs/data.md.
ANSWERS = {
    "ceilings": "known from what is planted",
    "unseen": "photographs",
}
# Share of signal in averaged responses where the options name none.
EXPLAINABLE_VARIANCE = {ROI: 0.3, TIME: 0.1}
HIGHER_AREAS = tuple(area for area in AREA_POSITIONS if area not in EARLY_AREAS)

Order = Literal["forward", "reversed"]


@dataclass(frozen=True)
class Learning:
    """Where and when a learning signal is planted.

    Attributes
    ----------
    latency
        Order of the layers in time, all later than the last activation: `reversed` is last layer
        first, `forward` first layer first.
    place
        Order of the layers along the regions: `forward` as the activations', `reversed` against it.
    regions
        Regions that hold it.
    """

    latency: Order
    place: Order
    regions: tuple[str, ...]


#: The worlds: what each plants of a learning signal, unless the options say otherwise.
WORLDS: dict[str, Learning | None] = {
    "feedforward": None,
    "backprop": Learning("reversed", "forward", tuple(AREA_POSITIONS)),
    "paper_pattern": Learning("forward", "reversed", HIGHER_AREAS),
}


class ImageOptions(PluginOptions):
    """Options that the images follow from."""

    images: PhotographOptions = Field(PhotographOptions(), description="The crops that are shown.")


class Options(ImageOptions):
    """Options of a simulated brain."""

    world: Literal["feedforward", "backprop", "paper_pattern"] = Field(
        description="Preset of what is planted of the learning signal: none; as backpropagation "
        "has it (learning_latency: reversed, learning_place: forward, all regions); or late and "
        "high, but otherwise (forward, reversed, all regions but V1 to V3).",
    )
    planting_model: Name = Field(description="Entry of models.yaml whose features are planted.")
    planting_signal_set: Name = Field(description="Entry of signals.yaml that holds the signals.")
    planting_layers: tuple[str, ...] = Field(
        min_length=2, description="Layers planted, from the input to the output."
    )
    learning_signal: str | None = Field(
        None, description="Learning signal of the set; every world but `feedforward` plants one."
    )
    learning_latency: Order | None = Field(
        None,
        description="Order of the layers' learning signals in time, all after the last activation: "
        "`reversed`, last layer first, or `forward`; none: the world's.",
    )
    learning_place: Order | None = Field(
        None,
        description="Layers along the regions that hold learning signals: `forward` from the first "
        "to the last as those of activations, or `reversed`; none: the world's.",
    )
    learning_regions: tuple[str, ...] | None = Field(
        None, min_length=1, description="Regions that hold learning signals; none: the world's."
    )
    explainable_variance: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of signal in the variance over images of averaged responses: of every "
        "target along regions; along time, at the sample with the strongest signal, of the "
        "variance summed over sensors. None: .3 along regions, .1 along time.",
    )
    learning_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Variance of the learning signal / variance of the signal: of the sum of both "
        "parts of a target along regions; along time, at the peak of a layer's learning signal / "
        "at that of an activation. What activations share with it counts as the learning signal's.",
    )
    n_repeats: int = Field(3, ge=2, description="Presentations of each image.")
    seed: int = Field(0, ge=0)
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
        learns = WORLDS[self.world] is not None
        if learns != (self.learning_signal is not None):
            raise ValueError(
                "learning_signal: name one for the worlds that plant it, none for `feedforward`"
            )
        own = (self.learning_latency, self.learning_place, self.learning_regions)
        if not learns and any(value is not None for value in own):
            raise ValueError(
                "learning_latency, learning_place, learning_regions: the world `feedforward` has "
                "no learning signal; leave them out, or name another world"
            )
        if len(set(self.planting_layers)) != len(self.planting_layers):
            raise ValueError("planting_layers: name each layer once")
        unknown = [name for name in self.regions if name not in AREA_POSITIONS]
        if unknown:
            raise ValueError(f"regions: {unknown} unknown; known: {', '.join(AREA_POSITIONS)}")
        if REFERENCE_AREA not in self.regions:
            raise ValueError(f"regions: {REFERENCE_AREA} must be among them; distances start there")
        lacking = set(self.learning_regions or ()) - set(self.regions)
        if lacking:
            raise ValueError(
                f"learning_regions: {sorted(lacking)} are not among regions: "
                f"{', '.join(self.regions)}"
            )
        if not self.tmin < 0 < self.tmax:
            raise ValueError(f"tmin ({self.tmin}) and tmax ({self.tmax}) must enclose the onset, 0")
        return self


def planting_stores(options: Options) -> list[tuple[str, str, str]]:
    """Name the feature stores that are planted, one per layer, in the order of the layers."""
    return [
        (options.planting_model, layer, options.planting_signal_set)
        for layer in options.planting_layers
    ]


def simulate(
    entry: DatasetEntry, options: Options, subject: str, stimuli: pd.DataFrame, planted: Planted
) -> xr.Dataset:
    """Simulate one subject from planted signals that were read before.

    Raises
    ------
    DatasetError
        The data set has no axis.
    """
    if entry.axis == ROI:
        return _along_regions(entry, options, subject, stimuli, planted)
    if entry.axis == TIME:
        return _along_time(entry, options, subject, stimuli, planted)
    raise DatasetError(_no_responses(entry))


def learning_of(options: Options) -> Learning | None:
    """Where and when the learning signal is planted: as the world has it, or the options."""
    preset = WORLDS[options.world]
    if preset is None:
        return None
    regions = options.learning_regions or preset.regions
    return Learning(
        options.learning_latency or preset.latency,
        options.learning_place or preset.place,
        tuple(region for region in options.regions if region in regions),
    )


def explainable_variance(entry: DatasetEntry, options: Options) -> float:
    """Share of signal in the variance of averaged responses."""
    if options.explainable_variance is not None:
        return options.explainable_variance
    if entry.axis is None:
        raise DatasetError(_no_responses(entry))
    return EXPLAINABLE_VARIANCE[entry.axis]


def layer_of_region(options: Options) -> dict[str, str]:
    """Assign layers to regions: evenly, from the first to the last of both."""
    return _spread(options.planting_layers, options.regions)


def learning_layer_of_region(options: Options, learning: Learning) -> dict[str, str]:
    """Assign layers to the regions that hold their learning signals.

    In the order of activations each region holds the layer whose activation it follows; reversed,
    layers are spread evenly from the last to the first.
    """
    if learning.place == "reversed":
        return _spread(options.planting_layers[::-1], learning.regions)
    own = layer_of_region(options)
    return {region: own[region] for region in learning.regions}


def _spread(layers: Sequence[str], regions: Sequence[str]) -> dict[str, str]:
    positions = np.linspace(0, len(layers) - 1, len(regions))
    # Halves are rounded up, not to even, so that the steps are as even as they can be.
    indices = np.floor(positions + 0.5).astype(int)
    return {region: layers[index] for region, index in zip(regions, indices, strict=True)}


def latencies(options: Options) -> tuple[list[float], list[float]]:
    """Peak latencies, in s, of each layer's activation and of its learning signal.

    Activations rise with depth. Learning signals begin `feedback_delay` after the last activation,
    and follow each other by the same delay: last layer first, or first layer first. A world without
    them has those of `reversed`, which nothing uses.
    """
    depth = np.arange(len(options.planting_layers))
    forward = options.first_peak + options.layer_delay * depth
    learning = learning_of(options)
    order = depth if learning is not None and learning.latency == "forward" else depth[::-1]
    late = forward[-1] + options.feedback_delay + options.layer_delay * order
    return forward.round(6).tolist(), late.round(6).tolist()


def sample_times(options: Options) -> np.ndarray:
    """Sample times in s: multiples of the sampling step, so that the onset is one of them."""
    first = int(np.ceil(options.tmin * options.sfreq - 1e-9))
    last = int(np.floor(options.tmax * options.sfreq + 1e-9))
    return np.arange(first, last + 1) / options.sfreq


def readout(features: np.ndarray, n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Read features out at random: each channel is a random direction of standardised features.

    Parameters
    ----------
    features
        Shape (n_images, n_features). Features that are constant over images are left out.
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
        The learning signal; None in the world `feedforward`.
    """

    activations: list[np.ndarray]
    learning: list[np.ndarray] | None


def beyond_activations(
    planted: Planted, stimuli: pd.DataFrame, rng: np.random.Generator, *, n_channels: int = 20
) -> np.ndarray:
    """Share of each layer's learning signal that the activations of all layers do not predict.

    Channels are read out of the learning signal as responses are, and predicted by ridge regression
    (scikit-learn's, its penalty by generalised cross-validation for each channel) from all planted
    activations, in folds that split no group of images.

    Returns
    -------
    ndarray of float64, shape (n_layers,)
        1 − R² of held-out images, the mean over channels; in [0, 1].
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert planted.learning is not None
    design = np.concatenate(planted.activations, axis=1).astype(np.float64)
    channels = np.concatenate(
        [readout(values, n_channels, rng) for values in planted.learning], axis=1
    )
    ridge = RidgeCV(alphas=np.logspace(0, 8, 17), alpha_per_target=True)
    groups = stimuli["group"].to_numpy()
    folds = GroupKFold(min(5, len(set(groups))))
    predicted = cross_val_predict(
        make_pipeline(StandardScaler(), ridge), design, channels, groups=groups, cv=folds
    )
    left = np.clip(((channels - predicted) ** 2).mean(axis=0), 0, 1)
    return left.reshape(len(planted.learning), n_channels).mean(axis=1)


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
        if found not in planting_stores(options) or layer in by_layer:
            raise DatasetError(
                f"{path}: holds model, layer, signal set {found}; data set {entry.name!r} plants "
                f"{options.planting_model!r}, {options.planting_signal_set!r} and each once of "
                f"the layers {', '.join(options.planting_layers)}"
            )
        expected = {DIGESTS: stimuli_digests(stimuli)}
        own = {DIGEST: tree.attrs.get(DIGEST)}
        check_same_pictures(path, own, expected, Path("the stimulus set"))
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
) -> xr.Dataset:
    targets = area_vertices(options.regions, per_hemisphere=options.vertices_per_region)
    rng = _generator(options, entry, subject, "readouts")
    signal = region_signal(options, planted, targets["roi"].to_numpy(), rng)
    share = explainable_variance(entry, options)
    average, ceiling = _measure(
        signal, share, options, _generator(options, entry, subject, "noise")
    )
    attrs = describe(
        entry,
        subject,
        units="standard deviations of the signal",
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


def region_signal(
    options: Options, planted: Planted, roi: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Signal of every target: its region's activation, and the learning signal where it is held.

    Parameters
    ----------
    roi
        Shape (n_targets,), str. Region of each target.

    Returns
    -------
    ndarray of float64, shape (n_images, n_targets)
        Variance 1 over images.
    """
    learning = learning_of(options)
    held = {} if learning is None else learning_layer_of_region(options, learning)
    signal = np.zeros((len(planted.activations[0]), len(roi)))
    for region, layer in layer_of_region(options).items():
        own = np.flatnonzero(roi == region)
        index = options.planting_layers.index(layer)
        part = readout(planted.activations[index], len(own), rng)
        if region in held and planted.learning is not None:
            index = options.planting_layers.index(held[region])
            learnt = readout(planted.learning[index], len(own), rng)
            part = np.sqrt(1 - options.learning_share) * part
            part += np.sqrt(options.learning_share) * learnt
        signal[:, own] = part / part.std(axis=0)
    return signal


def _along_time(
    entry: DatasetEntry,
    options: Options,
    subject: str,
    stimuli: pd.DataFrame,
    planted: Planted,
) -> xr.Dataset:
    sensors = sensor_layout(options.layout, n_sensors=options.n_sensors)
    positions = sensors[["sensor_x", "sensor_y"]].to_numpy()
    rng = _generator(options, entry, subject, "readouts")
    signal = time_signal(options, planted, positions, rng)
    share = explainable_variance(entry, options)
    average, ceiling = _measure(
        signal, share, options, _generator(options, entry, subject, "noise")
    )
    attrs = describe(
        entry,
        subject,
        units="standard deviations of an activation at its peak",
        space="sensors",
        preprocessing=f"simulated; {options.n_repeats} noisy presentations averaged",
    )
    return sensor_responses(
        average,
        sensors,
        time=sample_times(options),
        stimuli=stimuli,
        n_repeats=options.n_repeats,
        noise_ceiling=ceiling,
        attrs=attrs,
    )


def time_signal(
    options: Options, planted: Planted, positions: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Signal of every sensor over time: a bump per layer's activation and per learning signal.

    Parameters
    ----------
    positions
        Shape (n_sensors, 2). Of the sensors; the layout's radius is 1.

    Returns
    -------
    ndarray of float64, shape (n_images, n_times, n_sensors)
        At its peak an activation has variance 1 over images, on average over sensors, and a
        learning signal `learning_share`.
    """
    time = sample_times(options)
    forward, late = latencies(options)
    bumps = [(values, peak, 1.0) for values, peak in zip(planted.activations, forward, strict=True)]
    if planted.learning is not None:
        bumps += [
            (values, peak, options.learning_share)
            for values, peak in zip(planted.learning, late, strict=True)
        ]
    signal = np.zeros((len(planted.activations[0]), len(time), len(positions)))
    for values, peak, variance in bumps:
        sources = readout(values, options.sources_per_layer, rng)
        patterns = smooth_patterns(
            positions, options.sources_per_layer, length=options.pattern_length, rng=rng
        )
        field = sources @ patterns
        field *= np.sqrt(variance / field.var(axis=0).mean())
        course = np.exp(-((time - peak) ** 2) / (2 * options.peak_width**2))
        course[time < 0] = 0
        signal += course[None, :, None] * field[:, None, :]
    return signal


def _measure(
    signal: np.ndarray, share: float, options: Options, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Add noise to each presentation; return the average and its ceiling, seen from the repeats.

    The noise has one variance everywhere. Averaged, it leaves the signal, where that is strongest,
    a certain share of the variance.

    Parameters
    ----------
    signal
        Shape (n_images, n_targets) or (n_images, n_times, n_sensors).
    share
        Of the signal in the variance of the average, in (0, 1).
    """
    strongest = signal.var(axis=0).mean(axis=-1).max()
    noise_sd = np.sqrt(options.n_repeats * strongest * (1 - share) / share)
    noise = rng.standard_normal((options.n_repeats, *signal.shape), dtype=np.float32)
    return average_repeats(signal + noise_sd * noise)


def _generator(
    options: Options, entry: DatasetEntry, subject: str, purpose: str
) -> np.random.Generator:
    """Make a source of randomness of one subject for one purpose."""
    return np.random.default_rng(_seed(options.seed, entry.name, subject, purpose))


def _seed(*parts: int | str) -> int:
    """Derive a seed from names, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4])


class Adapter(DatasetAdapter):
    """Simulated brains."""

    image_options = ImageOptions

    def stimuli(
        self, entry: DatasetEntry, options: ImageOptions, name: str, data: Path
    ) -> pd.DataFrame:
        """Return the crops shown; of sets of one subject each, each has its own crops."""
        images = options.images
        if entry.stimuli is None:
            images = images.model_copy(update={"seed": _seed(images.seed, "crops", name)})
        return crops(images, name=name)

    def check(self, entry: DatasetEntry, options: Options, data: Path) -> list[str]:
        """List missing photographs, and a modality without responses."""
        problems = missing_photographs(options.images)
        if entry.axis is None:
            problems.append(_no_responses(entry))
        return problems

    def required_features(
        self, entry: DatasetEntry, options: Options
    ) -> list[tuple[str, str, str]]:
        """Name the feature stores that are planted, one per layer, in the order of the layers."""
        return planting_stores(options)

    def space(self, entry: DatasetEntry, options: Options) -> str:
        """Name the space that the responses live in."""
        return "fsaverage5" if entry.axis == ROI else "sensors"

    def provenance(
        self,
        entry: DatasetEntry,
        options: Options,
        subject: str,
        stimuli: pd.DataFrame,
        features: Sequence[Path],
    ) -> dict[str, Any]:
        """Return what was planted: for the file beside the store, which no rule reads.

        `shares` holds `explainable_variance`; `learning_share`, which counts as the learning
        signal's what activations share with it; and `beyond_activations`, the share of the learning
        signal's variance that a ridge on all planted activations does not predict in photographs
        that it was not fitted to. With a few hundred images that is an upper bound: a larger fit
        predicts more.
        """
        truth: dict[str, Any] = {"options": options.model_dump(mode="json")}
        learning = learning_of(options)
        if entry.axis == ROI:
            truth["layer_of_region"] = layer_of_region(options)
        else:
            forward, late = latencies(options)
            truth["activation_latency_s"] = dict(zip(options.planting_layers, forward, strict=True))
        if learning is not None and entry.axis == ROI:
            truth["learning_layer_of_region"] = learning_layer_of_region(options, learning)
        elif learning is not None:
            truth["learning_latency_s"] = dict(zip(options.planting_layers, late, strict=True))
        shares: dict[str, Any] = {"explainable_variance": explainable_variance(entry, options)}
        if learning is not None:
            planted = read_planted(entry, options, stimuli, features)
            beyond = beyond_activations(
                planted, stimuli, _generator(options, entry, subject, "probe")
            )
            shares["learning_share"] = options.learning_share
            shares["beyond_activations"] = dict(
                zip(options.planting_layers, beyond.round(4).tolist(), strict=True)
            )
        return {"planted": truth | {"shares": shares}}

    def responses(
        self,
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
        return simulate(
            entry, options, subject, stimuli, read_planted(entry, options, stimuli, features)
        )
