"""Labels, colours, markers and order of what a study names, as its registry entries say them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from matplotlib.colors import is_color_like

from gradbrain.figures import style
from gradbrain.figures.declarations import FigureError
from gradbrain.store import as_text, read_table
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.roles import AXES, CONTROL, LEARNING, ROLES

EntryKind = Literal["model", "signal", "dataset", "modality"]
KINDS: tuple[EntryKind, ...] = get_args(EntryKind)
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Entry:
    """One registry entry as readers see it.

    Attributes
    ----------
    kind, name
        What it is, and its key.
    order
        Place in figures, from 0 within the kind.
    label, colour
        Empty where the registry says none.
    group
        Of models ``trained`` or ``untrained``; of data sets the axis.
    role
        Of signals.
    """

    kind: str
    name: str
    order: int
    label: str = ""
    colour: str = ""
    group: str = ""
    role: str = ""


@dataclass(frozen=True)
class Names:
    """What a study's models, signals, data sets and modalities are called and look like.

    A name that is not listed is called by its key, its underscores as spaces, and stands after
    those that are.

    Attributes
    ----------
    entries
        Each once.
    """

    entries: tuple[Entry, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Names:
        """Read ``entries.csv`` of a study.

        Raises
        ------
        StoreError
            The file is missing, unreadable, or lacks a column.
        FigureError
            It holds an entry of an unknown kind, or a colour that is none.
        """
        table = read_table(path, kind="entries")
        for kind, name, colour in zip(table["kind"], table["name"], table["colour"], strict=True):
            if kind not in KINDS:
                raise FigureError(
                    f"{path}: entry {name!r} is of kind {kind!r}; expected one of {list(KINDS)}"
                )
            if isinstance(colour, str) and not is_color_like(colour):
                raise FigureError(
                    f"{path}: colour of the {kind} {name!r} is {colour!r}, which is no colour; "
                    "correct its registry entry, e.g. colour: '#0B7A75'"
                )
        return cls.of(table)

    @classmethod
    def of(cls, table: pd.DataFrame) -> Names:
        """Take the entries of a table with the columns of the kind ``entries``."""
        text = [name for name in columns_of("entries") if name != "order"]
        table = table.assign(**{name: as_text(table[name]) for name in text})
        # A control of several signals has a row for each of them.
        table = table.drop_duplicates(["kind", "name"])
        fields = ("kind", "name", "label", "colour", "group", "role")
        return cls(
            tuple(
                Entry(**{name: row[name] for name in fields}, order=int(row["order"]))
                for row in table.to_dict("records")
            )
        )

    def including(self, data: pd.DataFrame) -> Names:
        """List also what a table names and the registry does not, sorted, after all that it does.

        Parameters
        ----------
        data
            The table behind a figure, with any of the columns model, signal (with role), dataset
            and modality.
        """
        found = list(self.entries)
        for kind in KINDS:
            if kind not in data:
                continue
            roles = data["role"] if kind == "signal" and "role" in data else [""] * len(data)
            role_of = dict(zip(data[kind].astype(str), roles, strict=True))
            new = sorted(set(role_of) - {entry.name for entry in self._of_kind(kind)} - {""})
            found += [
                Entry(kind, name, self._after_all(kind) + place, role=str(role_of[name]))
                for place, name in enumerate(new)
            ]
        return Names(tuple(found))

    def label(self, kind: EntryKind, name: str) -> str:
        """Name for readers."""
        entry = self._entry(kind, name)
        return (entry.label if entry else "") or name.replace("_", " ")

    def dataset_label(self, name: str, modality: str) -> str:
        """Name of a data set for readers; one without a label of its own says its modality too."""
        entry = self._entry("dataset", name)
        if entry is not None and entry.label:
            return entry.label
        return f"{self.label('dataset', name)} ({self.label('modality', modality)})"

    def quantity_label(self, signal: str, variant: str) -> str:
        """Name of a signal, alone or its unique part, for the title of a panel."""
        label = self.label("signal", signal)
        return f"{label}, {style.VARIANT_LABELS[variant]}" if variant == "unique" else label

    def colour(self, kind: EntryKind, name: str) -> str:
        """Colour of an entry, the same in every figure.

        An entry without one takes it from a palette, by its place among signals of its role or,
        if it is no signal, among entries of its kind. What is not listed is grey.
        """
        return self._colours.get((kind, name), style.MUTED)

    def marker(self, signal: str) -> str:
        """Marker of a signal, so that nothing is told by colour alone: one for each control."""
        controls = [entry.name for entry in self._signals_of(CONTROL)]
        if signal not in controls:
            return "o"
        return style.CONTROL_MARKERS[controls.index(signal) % len(style.CONTROL_MARKERS)]

    def is_trained(self, model: str) -> bool:
        """Whether the weights of a model were learnt."""
        entry = self._entry("model", model)
        return entry is None or entry.group != UNTRAINED

    def order_signals(self, signals: Iterable[str], roles: Mapping[str, str]) -> list[str]:
        """Activation, then learning signals, then controls, each in the order of the entries.

        Parameters
        ----------
        signals
            Names, repetitions allowed.
        roles
            Role of each name.
        """
        rank: dict[str, int] = {role: place for place, role in enumerate(ROLES)}
        return sorted(
            set(signals),
            key=lambda name: (
                rank.get(roles.get(name, LEARNING), len(rank)),
                self._place("signal", name),
            ),
        )

    def order_models(self, models: Iterable[str]) -> list[str]:
        """Trained models, then untrained ones, each in the order of the entries."""
        return sorted(
            set(models), key=lambda name: (not self.is_trained(name), self._place("model", name))
        )

    def order_datasets(self, axes: Mapping[str, str]) -> list[str]:
        """Data sets by region, then those over time, each in the order of the entries.

        Parameters
        ----------
        axes
            Data set -> axis of its modality.
        """
        rank: dict[str, int] = {axis: place for place, axis in enumerate(AXES)}
        return sorted(
            axes, key=lambda name: (rank.get(axes[name], len(rank)), self._place("dataset", name))
        )

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], Entry]:
        return {(entry.kind, entry.name): entry for entry in self.entries}

    @cached_property
    def _colours(self) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for role in ROLES:
            found |= _with_palette(self._signals_of(role), style.PALETTES[role])
        for kind in KINDS:
            if kind != "signal":
                found |= _with_palette(self._of_kind(kind), style.PALETTES[LEARNING])
        return found

    def _entry(self, kind: str, name: str) -> Entry | None:
        return self._by_name.get((kind, name))

    def _of_kind(self, kind: str) -> list[Entry]:
        own = [entry for entry in self.entries if entry.kind == kind]
        return sorted(own, key=lambda entry: (entry.order, entry.name))

    def _signals_of(self, role: str) -> list[Entry]:
        return [entry for entry in self._of_kind("signal") if entry.role == role]

    def _after_all(self, kind: str) -> int:
        return max((entry.order for entry in self._of_kind(kind)), default=-1) + 1

    def _place(self, kind: str, name: str) -> tuple[int, str]:
        entry = self._entry(kind, name)
        return (self._after_all(kind) if entry is None else entry.order), name


def _with_palette(entries: Sequence[Entry], palette: Sequence[str]) -> dict[tuple[str, str], str]:
    """Colours of some entries: their own or, by their place, of a palette.

    A colour of the palette that another entry has is passed over while there are free ones, so that
    no two look the same.
    """
    taken = {entry.colour.upper() for entry in entries}
    found: dict[tuple[str, str], str] = {}
    for place, entry in enumerate(entries):
        by_place = [palette[(place + step) % len(palette)] for step in range(len(palette))]
        free = [colour for colour in by_place if colour.upper() not in taken]
        found[entry.kind, entry.name] = entry.colour or (free or by_place)[0]
        taken.add(found[entry.kind, entry.name].upper())
    return found
