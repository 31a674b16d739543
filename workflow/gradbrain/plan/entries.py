"""Registry entries that a study names, as readers see them: the rows of ``entries.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradbrain.config.study import ResolvedStudy
from gradbrain.vocabulary.artefacts import columns_of

Record = dict[str, Any]


def entry_records(study: ResolvedStudy, trained: Mapping[str, bool]) -> list[Record]:
    """List the models, signals, data sets and modalities of a study.

    Parameters
    ----------
    study
        The study.
    trained
        Model -> whether its weights were learnt.

    Returns
    -------
    list of dict
        Columns of the kind ``entries``; a control of several signals has a row for each.
    """
    modalities = {entry.modality.name: entry.modality for entry in study.datasets.values()
                  if entry.modality is not None}  # fmt: skip
    found = [
        *_records("model", study.models.values(), group=lambda entry: _group(trained[entry.name])),
        *_signal_records(study),
        *_records("dataset", study.datasets.values(), group=lambda entry: entry.axis or ""),
        *_records("modality", modalities.values(), group=lambda entry: entry.axis),
    ]
    return [
        {column: record.get(column, "") for column in columns_of("entries")} for record in found
    ]


def _group(trained: bool) -> str:
    return "trained" if trained else "untrained"


def _records(kind: str, entries: Any, group: Any) -> list[Record]:
    return [
        {
            "kind": kind,
            "name": entry.name,
            "order": order,
            "label": entry.label,
            "colour": getattr(entry, "colour", None) or "",
            "group": group(entry),
        }
        for order, entry in enumerate(entries)
    ]


def _signal_records(study: ResolvedStudy) -> list[Record]:
    signals = study.signal_set.signals
    records = []
    for order, signal in enumerate(signals):
        record = {
            "kind": "signal",
            "name": signal.name,
            "order": order,
            "label": signal.label,
            "colour": signal.colour or "",
            "role": signal.role,
            "rule": signal.rule,
            "objective": signal.objective or "",
        }
        controlled = [other.name for other in signals if signal.controls(other)]
        records += [record | {"control_of": name} for name in controlled or [""]]
    return records
