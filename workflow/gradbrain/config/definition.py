"""What a feature store is made from: the part of its registry entries that its values depend on."""

from __future__ import annotations

import hashlib
import json

from gradbrain.config.schema import ModelEntry, SignalSet

# What an entry says about itself, without bearing on any value.
DESCRIPTIVE = {"name", "licence", "citation", "default_objective", "sibling"}
# Keys that entries did not always have: left out where they say what held before, so that stores
# made then keep their definition.
LATER_KEYS = {"source": "timm", "text_tower": None}


def feature_definition(model: ModelEntry, signal_set: SignalSet) -> str:
    """Digest of a model and a signal set as they bear on features.

    Features are shared by all studies and named by registry entries alone. The digest is kept
    in each store, so that an entry which changed under its stores is noticed.
    """
    # The text tower bears on signals that compare images with text, and on no others.
    unused = set() if signal_set.compares_with_text else {"text_tower"}
    entry = model.model_dump(mode="json", exclude=DESCRIPTIVE | unused)
    for key, before in LATER_KEYS.items():
        if entry.get(key, before) == before:
            entry.pop(key, None)
    definition = {
        "model": entry,
        "signal_set": signal_set.model_dump(mode="json", exclude={"name"}),
    }
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
