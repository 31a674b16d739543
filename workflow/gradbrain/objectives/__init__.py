"""Objectives: the scalar loss of each image whose gradient is a learning signal.

One module per objective, found by name. This package imports none of them, and no torch, so that
a dry run can ask which modules a signal uses.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gradbrain.config import GradbrainError

if TYPE_CHECKING:
    from gradbrain.models.build import VisionModel
    from gradbrain.objectives.base import BaseObjective
    from gradbrain.objectives.calibration import CalibrationBank

# Modules of this package that objectives are built from; they are not objectives.
PARTS = {"base", "calibration", "projection_head", "seeds", "standardise", "views"}


class ObjectiveError(GradbrainError):
    """An objective does not exist, or cannot act on this model with these options."""


def available() -> list[str]:
    """Names of the objectives, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name not in PARTS)


def objective_modules(name: str | None, options: Mapping[str, Any]) -> list[str]:
    """Full names of the objective modules that a signal uses, those inside others included.

    Parameters
    ----------
    name
        Objective; None for signals without one.
    options
        Its options; ``shuffled_cotangent`` names another objective there.

    Returns
    -------
    list of str
        E.g. ``["gradbrain.objectives.shuffled_cotangent", "gradbrain.objectives.dino"]``.
    """
    if name is None:
        return []
    inner = options.get("objective")
    nested = objective_modules(inner, options.get("options", {})) if inner else []
    return [f"{__name__}.{name}", *nested]


def weights_digests(modules: Iterable[str], model: VisionModel) -> dict[str, str]:
    """Digests of weights of their own that objectives bring.

    Parameters
    ----------
    modules
        Full names of modules of objectives.
    model
        Network that they act on.

    Returns
    -------
    dict
        E.g. ``image_text_weights`` -> SHA-256; empty where no objective has any.
    """
    found = {}
    for name in sorted(modules):
        digest = getattr(importlib.import_module(name), "weights_digest", None)
        if digest is not None:
            found[f"{name.rpartition('.')[2]}_weights"] = str(digest(model))
    return found


def load(
    name: str,
    model: VisionModel,
    options: Mapping[str, Any],
    calibration: CalibrationBank | None,
    *,
    seed: int = 0,
) -> BaseObjective:
    """Build an objective by name, or take the one that was built on the same calibration images.

    Parameters
    ----------
    name
        Module of this package.
    model
        Network that the objective acts on.
    options
        Checked against the module's ``Options``.
    calibration
        Images that share none with the stimuli; whatever must be fitted is fitted on them.
    seed
        Seed of everything random in the objective.

    Raises
    ------
    ObjectiveError
        There is no such objective, its options are wrong, or it lacks calibration images.
    """
    if name not in available():
        raise ObjectiveError(
            f"there is no objective {name!r}; expected one of {', '.join(available())}"
        )
    module = importlib.import_module(f"{__name__}.{name}")
    try:
        settings = module.Options.model_validate(dict(options))
    except ValidationError as error:
        raise ObjectiveError(f"options of objective {name!r}: {error}") from error
    if module.Objective.needs_calibration and calibration is None:
        raise ObjectiveError(
            f"objective {name!r} needs calibration images; name a stimulus set as `calibration` "
            "of the signal set"
        )
    if calibration is None:
        return module.Objective(model, settings, None, seed)
    key = f"{name} {seed} {settings.model_dump_json()}"
    if key not in calibration.built:
        calibration.built[key] = module.Objective(model, settings, calibration, seed)
    return calibration.built[key]
