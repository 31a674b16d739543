"""Order, names and colours of signals, models, data sets, layers and verdicts: one place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources

import matplotlib
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.style import context as style_context

# Okabe & Ito (2008): told apart under all common forms of colour blindness.
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#AA4499"
GREEN = "#009E73"
ORANGE = "#E69F00"
SKY = "#56B4E9"

INK = "#333333"
MUTED = "#8A8A8A"
FAINT = "#D9D9D9"
# How well subjects predict one another: what models are measured against, behind their scores.
CEILING = "#666666"
CEILING_BAND = "#E6E6E6"

ACTIVATION_COLOUR = BLUE
_LEARNING_COLOURS = {
    "gradient_dino": VERMILION,
    "gradient_cross_entropy": PURPLE,
    "gradient_view_consistency": ORANGE,
    "gradient_contrastive": GREEN,
    "gradient_masked_feature": "#882255",
    "gradient_entropy": "#999933",
}
_OTHER_LEARNING_COLOUR = "#CC6677"
# Controls share one family of muted tones and differ by marker: they are one question.
_CONTROL_STYLES = {
    "feature_norm": ("#5B6770", "s"),
    "fixed_cotangent": ("#8FA3B3", "D"),
    "shuffled": ("#A3917F", "^"),
}
_OTHER_CONTROL_STYLE = ("#7A7A7A", "v")

_OBJECTIVE_LABELS = {
    "dino": "DINO",
    "cross_entropy": "cross-entropy",
    "view_consistency": "view consistency",
    "masked_feature": "masked features",
    "contrastive": "contrastive",
    "entropy": "entropy",
}
_SIGNAL_LABELS = {
    "activation": "activation",
    "gradient_feature_norm": "feature norm",
    "gradient_fixed_cotangent": "fixed cotangent",
}
_MODEL_LABELS = {
    "mobilenetv2_050_untrained": "MobileNetV2 ×0.5, untrained",
    "mobilenetv2_100_untrained": "MobileNetV2, untrained",
    "mobilenetv2_100_imagenet1k": "MobileNetV2, ImageNet-1k",
    "vit_tiny_untrained": "ViT-Ti, untrained",
}
_DATASET_LABELS = {
    "simulated_fmri_feedforward": "simulated fMRI, feedforward brain",
    "simulated_meg_feedforward": "simulated MEG, feedforward brain",
    "simulated_fmri_backprop": "simulated fMRI, backprop brain",
    "simulated_meg_backprop": "simulated MEG, backprop brain",
    "objects92": "92 objects, fMRI (RDMs)",
    "things_meg": "THINGS-MEG",
    "nsd": "Natural Scenes Dataset",
}

#: Verdicts in the order of the legend: colour of the cell, colour of its text, mark.
VERDICTS: dict[str, tuple[str, str, str]] = {
    "supported": ("#0B7A75", "#FFFFFF", "✓"),
    "contradicted": ("#D55E00", "#FFFFFF", "✗"),
    "undetermined": ("#E3E3E0", "#333333", "?"),
    "descriptive": ("#FFFFFF", "#555555", "·"),
}

#: Predictions in the order of the design, with a title of a few words.
PREDICTIONS: dict[str, str] = {
    "A1": "activations\nin order",
    "P1": "signal predicts\nresponses",
    "P2": "higher more\nthan early",
    "P3": "peaks after\nactivation",
    "P4": "last layer\nfirst",
    "P5": "sits where its\nactivation sits",
    "C1": "adds to\nactivations",
    "C2": "beyond best\ncontrol",
}

VARIANT_LABELS = {"raw": "alone", "unique": "unique part"}
MEASURE_LABELS = {"r": "Pearson r", "unique_r2": "unique R²", "rho": "Spearman ρ"}


@contextmanager
def applied() -> Iterator[None]:
    """Draw under the style of this project, and restore what was set before."""
    style_file = resources.files("gradbrain.figures") / "gradbrain.mplstyle"
    with resources.as_file(style_file) as path, style_context(["default", path]):
        yield


def depth_colours() -> Colormap:
    """Colours of relative depth from 0 (input) to 1 (output).

    Viridis without its lightest tenth, which vanishes as a line on white.
    """
    viridis = matplotlib.colormaps["viridis"]
    shades = [viridis(0.9 * step / 255) for step in range(256)]
    return LinearSegmentedColormap.from_list("depth", shades, N=256)


def score_colours() -> Colormap:
    """Colours of a score whose size matters, not its sign; below the scale: light grey."""
    return matplotlib.colormaps["cividis"].with_extremes(under="#E4E4E4", bad="#FFFFFF")


def signal_label(signal: str) -> str:
    """Name of a signal for readers: ``gradient_dino`` is ``gradient (DINO)``."""
    if signal in _SIGNAL_LABELS:
        return _SIGNAL_LABELS[signal]
    if signal.startswith("gradient_shuffled_"):
        objective = signal.removeprefix("gradient_shuffled_")
        return f"shuffled cotangent ({_objective_label(objective)})"
    if signal.startswith("gradient_"):
        return f"gradient ({_objective_label(signal.removeprefix('gradient_'))})"
    return signal.replace("_", " ")


def _objective_label(objective: str) -> str:
    return _OBJECTIVE_LABELS.get(objective, objective.replace("_", " "))


def model_label(model: str) -> str:
    """Name of a model for readers; unknown ones keep their registry name, spaced."""
    return _MODEL_LABELS.get(model, model.replace("_", " "))


def dataset_label(dataset: str) -> str:
    """Name of a data set for readers; unknown ones keep their registry name, spaced."""
    return _DATASET_LABELS.get(dataset, dataset.replace("_", " "))


def quantity_label(signal: str, variant: str) -> str:
    """Title of a panel: a signal, alone or its unique part."""
    if variant == "unique":
        return f"{signal_label(signal)}, unique part"
    return signal_label(signal)


def signed(value: float, digits: int = 2) -> str:
    """Number with its sign, a real minus rather than a hyphen; no sign where it rounds to 0."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def signal_colour(signal: str, role: str) -> str:
    """Colour of a signal, the same in every figure."""
    if role == "activation":
        return ACTIVATION_COLOUR
    if role == "control":
        return _control_style(signal)[0]
    return _LEARNING_COLOURS.get(signal, _OTHER_LEARNING_COLOUR)


def signal_marker(signal: str, role: str) -> str:
    """Marker of a signal, so that nothing is told by colour alone."""
    return _control_style(signal)[1] if role == "control" else "o"


def _control_style(signal: str) -> tuple[str, str]:
    for part, look in _CONTROL_STYLES.items():
        if part in signal:
            return look
    return _OTHER_CONTROL_STYLE


def order_signals(signals: Iterable[str], roles: dict[str, str]) -> list[str]:
    """Activation, then learning signals, then controls; known ones in the order of the style.

    Parameters
    ----------
    signals
        Names, repetitions allowed.
    roles
        Role of each name: ``activation``, ``learning`` or ``control``.
    """
    rank = {"activation": 0, "learning": 1, "control": 2}
    known = [*_LEARNING_COLOURS, *_CONTROL_STYLES]

    def key(signal: str) -> tuple[int, int, str]:
        place = next((i for i, name in enumerate(known) if name in signal), len(known))
        if roles.get(signal) == "learning":
            place = known.index(signal) if signal in known else len(known)
        return rank.get(roles.get(signal, "learning"), 1), place, signal

    return sorted(set(signals), key=key)


def order_models(models: Iterable[str]) -> list[str]:
    """Trained models first, then untrained ones, each in alphabetical order."""
    return sorted(set(models), key=lambda model: ("untrained" in model, model))


def order_datasets(modalities: dict[str, str]) -> list[str]:
    """FMRI before MEG, each in alphabetical order.

    Parameters
    ----------
    modalities
        Modality (``fmri`` or ``meg``) of each data set.
    """
    return sorted(modalities, key=lambda name: (modalities[name] != "fmri", name))
