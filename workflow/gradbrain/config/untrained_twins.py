"""Untrained twins of the models of a study: the same network, before any training."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any

from gradbrain.config.errors import GradbrainError
from gradbrain.config.registries import Registries
from gradbrain.config.schema import MAX_NAME, ModelChoice, ModelEntry

#: What a twin shares with a model; its weights and what is said of them are its own.
SHARED = (
    *("source", "architecture", "kwargs", "mean", "std", "input_size", "crop_pct"),
    *("interpolation", "default_objective"),
)
#: What is known of a network whatever its weights.
KEPT_FACTORS = frozenset({"family", "parameters", "year"})
RANDOM = "random"


def with_twins(
    choices: Sequence[ModelChoice], registries: Registries, *, where: str
) -> tuple[ModelChoice, ...]:
    """Add as many initialisations as each choice asks for, with its layers and signals.

    A twin that the registries hold already is taken as it is called there; others are entered, and
    called after the first entry of the registries that has their network, so that a name always
    stands for the same thing whatever a study takes.

    Parameters
    ----------
    choices
        One model each.
    registries
        Where models are looked up, and new twins entered.
    where
        File and key, for error messages.

    Returns
    -------
    tuple of ModelChoice
        Twins of a network once, after the first model that has it.

    Raises
    ------
    GradbrainError
        A model has no network, or the name of a twin would be too long.
    """
    if not any(choice.untrained for choice in choices):
        return tuple(choices)
    known = _Networks(registries, where)
    found: dict[str, ModelChoice] = {}
    named = {choice.name for choice in choices}
    for choice in choices:
        found[choice.name] = choice.model_copy(update={"untrained": 0})
        if not choice.untrained:
            continue
        entry = registries.model(choice.name, where=where)
        if not entry.is_network:
            raise GradbrainError(
                f"{where}: {choice.name}: untrained: it is no network, and has no weights to leave "
                "untrained; leave the key out"
            )
        if entry.weights.source == RANDOM:
            continue
        for seed in range(choice.untrained):
            name = known.twin(entry, seed)
            if name not in named and name not in found:
                found[name] = choice.model_copy(update={"name": name, "untrained": 0})
    return tuple(found.values())


class _Networks:
    """Networks of the registries: who has each first, and which are untrained already."""

    def __init__(self, registries: Registries, where: str) -> None:
        self._registries = registries
        self._where = where
        self._first: dict[Hashable, str] = {}
        self._untrained: dict[tuple[Hashable, Any], str] = {}
        for name in registries.models:
            entry = registries.model(name, where=where)
            network = _network(entry)
            if entry.weights.source == RANDOM:
                seed = entry.weights.options.get("seed", 0)
                self._untrained.setdefault((network, seed), name)
            else:
                self._first.setdefault(network, name)

    def twin(self, entry: ModelEntry, seed: int) -> str:
        """Name of the network of an entry as it is initialised from a seed."""
        network = _network(entry)
        if (network, seed) not in self._untrained:
            first = self._registries.model(self._first[network], where=self._where)
            name = f"{first.name}_untrained_{seed}"
            if len(name) > MAX_NAME:
                raise GradbrainError(
                    f"{self._where}: untrained: {name!r} is longer than {MAX_NAME} characters; "
                    "write an entry for it (scripts/add_models.py --untrained)"
                )
            self._registries.enter_model(name, _content(first, seed), beside=first.name)
            self._untrained[network, seed] = name
        return self._untrained[network, seed]


def _network(entry: ModelEntry) -> Hashable:
    """What two entries share that differ in their weights alone."""
    return json.dumps(entry.model_dump(mode="json", include=set(SHARED)), sort_keys=True)


def _content(entry: ModelEntry, seed: int) -> dict[str, Any]:
    """Content of the entry of a twin."""
    content = entry.model_dump(mode="json", include=set(SHARED))
    factors = entry.factors.model_dump(mode="json", include=set(KEPT_FACTORS), exclude_none=True)
    label = entry.label or entry.name.replace("_", " ")
    return content | {
        "weights": {"source": RANDOM, "seed": seed},
        "label": f"{label}, untrained ({seed + 1})",
        "licence": "none (random initialisation)",
        "citation": entry.citation,
        "factors": factors,
    }
