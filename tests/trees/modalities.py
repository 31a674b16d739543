"""Modalities of ``config/modalities.yaml`` by name, for entries that tests write."""

from pathlib import Path

from gradbrain.config.registries import Registries

_REGISTRIES = Registries([Path(__file__).resolve().parents[2] / "config"])
#: As datasets.yaml names them; ``none`` for sets that hold images only.
MODALITIES = {
    "none": None,
    **{name: _REGISTRIES.modality(name, where="test") for name in ("fmri", "meg", "eeg")},
}
