"""What a feature store is made from: the part of its registry entries that its values depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gradbrain.config.plugins import PluginOptions, Plugins, PluginUse, set_needs, signal_uses
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet

# What an entry says about itself, without bearing on any value.
DESCRIPTIVE = {
    *("name", "label", "colour", "licence", "citation", "default_objective", "sibling", "factors"),
}


def model_definition(model: ModelEntry, signal_set: SignalSet, plugins: Plugins) -> dict[str, Any]:
    """What values follow from of a model's entry, as JSON, without what is as by default.

    A default that is written out, and a key that entries gain later, change nothing. The text tower
    bears on signals that need it, and on no others.
    """
    unused = set() if "text_tower" in set_needs(signal_set, plugins) else {"text_tower"}
    found = model.model_dump(mode="json", exclude=DESCRIPTIVE | unused, exclude_defaults=True)
    where = f"models.yaml: model {model.name!r}: weights"
    use = PluginUse("weights", model.weights.source, model.weights.options)
    options = plugins.resolve(use, where=where).options
    return {**found, "weights": {"source": model.weights.source, **_given(options)}}


def signal_definition(signal: SignalEntry, plugins: Plugins) -> dict[str, Any]:
    """What values follow from of a signal's entry, as JSON, without what is as by default."""
    uses = signal_uses(signal, plugins, where=f"signals.yaml: signal {signal.name!r}")
    found: dict[str, Any] = {"name": signal.name, "role": signal.role, "rule": signal.rule}
    if signal.objective is not None:
        found["objective"] = signal.objective
    if signal.normalise is not None:
        found["normalise"] = signal.normalise
    for key, use in zip(("rule_options", "options"), uses, strict=False):
        if given := _given(use.options):
            found[key] = given
    return found


def _given(options: PluginOptions) -> dict[str, Any]:
    """Options that are not as by default, as JSON."""
    return options.model_dump(mode="json", exclude_defaults=True)


def feature_definition(model: ModelEntry, signal_set: SignalSet, plugins: Plugins) -> str:
    """Digest of a model and a signal set as they bear on features.

    Features are shared by all studies and named by registry entries alone. The digest is kept
    in each store, so that an entry which changed under its stores is noticed.
    """
    definition = {
        "model": model_definition(model, signal_set, plugins),
        "signal_set": {
            **signal_set.model_dump(
                mode="json", exclude={"name", "signals"}, exclude_defaults=True
            ),
            "signals": [signal_definition(signal, plugins) for signal in signal_set.signals],
        },
    }
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
