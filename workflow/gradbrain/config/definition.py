"""What a feature store is made from: the part of its registry entries that its values depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gradbrain.config.plugins import Plugins, set_needs
from gradbrain.config.schema import ModelEntry, SignalSet

# What an entry says about itself, without bearing on any value.
DESCRIPTIVE = {"name", "label", "colour", "licence", "citation", "default_objective", "sibling"}


def model_definition(model: ModelEntry, signal_set: SignalSet, plugins: Plugins) -> dict[str, Any]:
    """What values follow from of a model's entry, as JSON.

    The text tower bears on signals that need it, and on no others.
    """
    unused = set() if "text_tower" in set_needs(signal_set, plugins) else {"text_tower"}
    return model.model_dump(mode="json", exclude=DESCRIPTIVE | unused)


def feature_definition(model: ModelEntry, signal_set: SignalSet, plugins: Plugins) -> str:
    """Digest of a model and a signal set as they bear on features.

    Features are shared by all studies and named by registry entries alone. The digest is kept
    in each store, so that an entry which changed under its stores is noticed.
    """
    signals = signal_set.without_words()
    del signals["name"]
    definition = {"model": model_definition(model, signal_set, plugins), "signal_set": signals}
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
