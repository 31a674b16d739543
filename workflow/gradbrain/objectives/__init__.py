"""Objectives: the scalar loss of each image whose gradient is a learning signal.

One module per objective, found by name (:mod:`gradbrain.config.plugins`). A module defines

``Options``
    What YAML may say of it, what it needs and what of it is random: a class of
    :class:`~gradbrain.config.plugins.PluginOptions`, evaluated without importing torch.
``Objective``
    A class of :class:`~gradbrain.objectives.base.BaseObjective`.
``weights_digest(model) -> str``
    Of objectives that bring weights of their own: a digest of them. It is kept in the feature
    store as ``<objective>_weights``, so that features are made again when these weights change.

This package imports none of them, and no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import Plugin, ResolvedUse

if TYPE_CHECKING:
    from gradbrain.models.build import VisionModel
    from gradbrain.objectives.base import BaseObjective
    from gradbrain.objectives.calibration import CalibrationBank


class ObjectiveError(GradbrainError):
    """An objective cannot act on this model with these options."""


def own_weights(plugins: Iterable[Plugin], model: VisionModel) -> dict[str, str]:
    """Digests of weights of their own that objectives bring.

    Parameters
    ----------
    plugins
        What signals use; rules among them are passed over.
    model
        Network that they act on.

    Returns
    -------
    dict
        E.g. ``image_text_weights`` -> SHA-256; empty where no objective has any.
    """
    digests = {
        plugin.name: getattr(plugin.load(), "weights_digest", None)
        for plugin in plugins
        if plugin.kind == "objectives"
    }
    return {
        f"{name}_weights": str(digest(model))
        for name, digest in sorted(digests.items())
        if digest is not None
    }


def build_objective(
    use: ResolvedUse,
    model: VisionModel,
    calibration: CalibrationBank | None,
    *,
    seed: int = 0,
    replicate: int = 0,
) -> BaseObjective:
    """Build an objective, or take the one that was built on the same calibration images.

    Parameters
    ----------
    use
        The objective, its options validated.
    model
        Network that the objective acts on.
    calibration
        Images that share none with the stimuli; whatever must be fitted is fitted on them.
    seed
        Seed of everything random in the objective.
    replicate
        0: the draw of Monte-Carlo randomness that is used; others are independent of it.

    Raises
    ------
    ObjectiveError
        It lacks calibration images.
    """
    name = use.plugin.name
    if calibration is None:
        if "calibration" in use.needs:
            raise ObjectiveError(
                f"objective {name!r} needs calibration images; name a stimulus set as "
                "`calibration` of the signal set"
            )
        return _build(use, model, None, seed, replicate)
    key = f"{use.key} {seed} {replicate}"
    if key not in calibration.built:
        calibration.built[key] = _build(use, model, calibration, seed, replicate)
    return calibration.built[key]


def _build(
    use: ResolvedUse,
    model: VisionModel,
    calibration: CalibrationBank | None,
    seed: int,
    replicate: int,
) -> BaseObjective:
    inner = [
        build_objective(item, model, calibration, seed=seed, replicate=replicate)
        for item in use.inner
    ]
    state = None if calibration is None else calibration.states.get(use.key)
    objective: BaseObjective = use.plugin.load().Objective(
        model, use.options, calibration, seed, inner, replicate=replicate, state=state
    )
    return objective
