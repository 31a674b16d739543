"""Registries: the YAML and CSV files that name models, layers, data sets and signals."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import ValidationError

from gradbrain.config.errors import GradbrainError
from gradbrain.config.faults import describe
from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins
from gradbrain.config.schema import (
    MAX_NAME,
    NAME_PATTERN,
    Cotangents,
    DatasetEntry,
    LayerLayout,
    Modality,
    ModelEntry,
    SignalEntry,
    SignalSet,
    StrictModel,
    WeightsKind,
)
from gradbrain.config.suggestions import choose
from gradbrain.config.yaml_files import read_text, read_yaml
from gradbrain.vocabulary.roles import ACTIVATION, CONTROL

Entry = TypeVar("Entry", bound=StrictModel)
LAYOUTS: tuple[LayerLayout, ...] = get_args(LayerLayout)
WEIGHTS: tuple[WeightsKind, ...] = get_args(WeightsKind)
Kind = Literal["model", "data set", "modality", "signal", "signal set"]


@dataclass(frozen=True)
class Layer:
    """One row of ``layers.csv``: a named module output and where it stands in its model.

    Its layout, and the kind of the architecture's weights, are those by default; None where the
    table does not say, as tables that were written by hand need not.
    """

    architecture: str
    name: str
    index: int
    depth: float
    layout: LayerLayout | None = field(default=None, compare=False)
    weights: WeightsKind | None = field(default=None, compare=False)

    def layout_in(self, entry: ModelEntry) -> LayerLayout | None:
        """Its layout in the network of an entry, whose kwargs may add or remove the class token."""
        class_token = entry.kwargs.get("class_token")
        if class_token is None or self.layout not in ("class_and_patches", "patches"):
            return self.layout
        return "class_and_patches" if class_token else "patches"


def _layout(word: str | None) -> LayerLayout | None:
    if not word:
        return None
    for known in LAYOUTS:
        if word == known:
            return known
    raise ValueError(f"layout {word!r}")


def _weights(word: str | None) -> WeightsKind | None:
    if not word:
        return None
    for known in WEIGHTS:
        if word == known:
            return known
    raise ValueError(f"weights {word!r}")


def _rows_of_layers(path: Path) -> Iterator[tuple[int, Layer]]:
    """Yield every row of a table of layers with its line.

    Raises
    ------
    GradbrainError
        A column is missing, a number is none or out of its range, or a layer has a name that no
        module of a network can have: names of layers are names of folders.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        for row in reader:
            yield reader.line_num, _layer_of(row)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        why = error if isinstance(error, ValueError) else repr(error)
        raise GradbrainError(
            f"{path}, line {reader.line_num}: expected the columns architecture, layer, "
            "layer_index (integer from 0) and depth (0 to 1), and if you like layout "
            f"({', '.join(LAYOUTS)}) and weights ({', '.join(WEIGHTS)}): "
            f"{why}"
        ) from None


def _layer_of(row: Mapping[str, str]) -> Layer:
    layer = Layer(
        row["architecture"],
        row["layer"],
        int(row["layer_index"]),
        float(row["depth"]),
        _layout(row.get("layout")),
        _weights(row.get("weights")),
    )
    if not re.fullmatch(NAME_PATTERN, layer.name) or len(layer.name) > MAX_NAME:
        raise ValueError(
            f"layer {layer.name[:MAX_NAME]!r}: expected the name of a module, of letters, digits "
            f"and _ . -, no longer than {MAX_NAME} characters"
        )
    if not layer.architecture.strip():
        raise ValueError("architecture is empty")
    if layer.index < 0:
        raise ValueError(f"layer_index {layer.index} is below 0")
    if not 0 <= layer.depth <= 1:
        raise ValueError(f"depth {layer.depth} is not between 0 and 1")
    return layer


def validate(model_class: type[Entry], content: Any, *, where: str) -> Entry:
    """Validate a mapping against a settings class; name the file and key in the error."""
    try:
        return model_class.model_validate(content)
    except ValidationError as error:
        raise GradbrainError(f"{where}: {describe(model_class, error, content)}") from None


def _section(folders: Iterable[Path], file: str, section: str) -> dict[str, tuple[Path, Any]]:
    """Entries of one section over all registry folders; a later folder may not redefine."""
    entries: dict[str, tuple[Path, Any]] = {}
    for folder in folders:
        path = folder / file
        if not path.exists():
            continue
        listed = read_yaml(path).get(section) or {}
        if not isinstance(listed, dict):
            raise GradbrainError(
                f"{path}: {section}: expected a mapping of names to entries, found "
                f"{type(listed).__name__}"
            )
        for name, content in listed.items():
            if name in entries:
                raise GradbrainError(
                    f"{path}: {section} entry {name!r} is already defined in {entries[name][0]}; "
                    "entries name results, so a second definition needs a second name"
                )
            if not isinstance(content, dict):
                raise GradbrainError(f"{path}: {section}.{name}: expected a mapping")
            if "name" in content:
                raise GradbrainError(
                    f"{path}: {section}.{name}: name: an entry is called by its key; leave it out"
                )
            entries[name] = (path, content)
    return entries


class Registries:
    """All registry entries, validated when they are asked for.

    Parameters
    ----------
    folders
        Folders that may hold ``models.yaml``, ``layers.csv``, ``modalities.yaml``,
        ``datasets.yaml`` and ``signals.yaml``.
    plugins
        Where rules, objectives, adapters, figures and sources of weights are looked up.
    """

    def __init__(self, folders: Iterable[Path], plugins: Plugins = LIBRARY_PLUGINS) -> None:
        folders = list(folders)
        self.plugins = plugins
        for folder in folders:
            if not folder.is_dir():
                raise GradbrainError(f"registries: there is no folder {folder}")
        self.where = ", ".join(str(folder) for folder in folders)
        # The first is the project's, and tracked.
        self._own_folders = folders[1:]
        self._models = _section(folders, "models.yaml", "models")
        self._modalities = _section(folders, "modalities.yaml", "modalities")
        self._datasets = _section(folders, "datasets.yaml", "datasets")
        self._signals = _section(folders, "signals.yaml", "signals")
        self._signal_sets = _section(folders, "signals.yaml", "signal_sets")
        self._layers = self._read_layers(folders)

    @staticmethod
    def _read_layers(folders: Iterable[Path]) -> dict[str, list[Layer]]:
        layers: dict[str, list[Layer]] = {}
        known: dict[tuple[str, str], tuple[Path, Layer]] = {}
        for folder in folders:
            path = folder / "layers.csv"
            if not path.exists():
                continue
            for number, layer in _rows_of_layers(path):
                found = known.setdefault((layer.architecture, layer.name), (path, layer))
                if found == (path, layer) and layer not in layers.get(layer.architecture, []):
                    layers.setdefault(layer.architecture, []).append(layer)
                elif found[0] == path or found[1] != layer:
                    raise GradbrainError(
                        f"{path}, line {number}: layer {layer.name!r} of "
                        f"{layer.architecture!r} is already listed in {found[0]}; list it once"
                    )
        return {name: sorted(rows, key=lambda row: row.index) for name, rows in layers.items()}

    def _entry(
        self,
        model_class: type[Entry],
        entries: Mapping[str, tuple[Path, Any]],
        name: str,
        what: Kind,
        where: str,
    ) -> Entry:
        choose(name, entries, what=what, where=where)
        _, content = entries[name]
        return validate(model_class, {"name": name, **content}, where=self.place(what, name))

    def place(self, what: Kind, name: str) -> str:
        """File and name of an entry that exists, for error messages."""
        sections: dict[Kind, Mapping[str, tuple[Path, Any]]] = {
            "model": self._models,
            "data set": self._datasets,
            "modality": self._modalities,
            "signal": self._signals,
            "signal set": self._signal_sets,
        }
        return f"{sections[what][name][0]}: {what} {name!r}"

    def model(self, name: str, *, where: str) -> ModelEntry:
        """Entry of a model; `where` names the key that asks for it."""
        return self._entry(ModelEntry, self._models, name, "model", where)

    def dataset(self, name: str, *, where: str) -> DatasetEntry:
        """Entry of a data set, its modality resolved."""
        choose(name, self._datasets, what="data set", where=where)
        _, content = self._datasets[name]
        at = self.place("data set", name)
        modality = content.get("modality", "none")
        if not isinstance(modality, str):
            raise GradbrainError(f"{at}: modality: expected a name, found {modality!r}")
        found = None if modality == "none" else self.modality(modality, where=f"{at}: modality")
        return validate(DatasetEntry, {"name": name, **content, "modality": found}, where=at)

    def modality(self, name: str, *, where: str) -> Modality:
        """Entry of a modality."""
        return self._entry(Modality, self._modalities, name, "modality", where)

    def enter_model(self, name: str, content: Mapping[str, Any], *, beside: str) -> None:
        """Enter a model that follows from another one, as if it stood in the same file.

        Raises
        ------
        GradbrainError
            There is another entry of this name.
        """
        path = self._models[beside][0]
        if name in self._models:
            raise GradbrainError(
                f"{self.place('model', name)}: is not what `untrained` makes of {beside!r}; give "
                "it another name"
            )
        self._models[name] = (path, dict(content))

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all models."""
        return tuple(self._models)

    @property
    def architectures(self) -> tuple[str, ...]:
        """Names of all architectures whose layers are listed."""
        return tuple(self._layers)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of all modalities."""
        return tuple(self._modalities)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of all data sets."""
        return tuple(self._datasets)

    def dataset_folder(self, name: str) -> Path:
        """Folder whose ``datasets.yaml`` lists a data set."""
        return self._datasets[name][0].parent

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of all signals."""
        return tuple(self._signals)

    def signal(self, name: str, *, where: str) -> SignalEntry:
        """Entry of a signal."""
        return self._entry(SignalEntry, self._signals, name, "signal", where)

    @property
    def signal_sets(self) -> tuple[str, ...]:
        """Names of all signal sets."""
        return tuple(self._signal_sets)

    def signal_set(self, name: str, *, where: str) -> SignalSet:
        """Entry of a signal set, its signals resolved."""
        choose(name, self._signal_sets, what="signal set", where=where)
        _, content = self._signal_sets[name]
        at = self.place("signal set", name)
        names = content.get("signals")
        if not isinstance(names, list):
            raise GradbrainError(f"{at}: signals: expected a list of signal names, found {names!r}")
        signals = [
            self._entry(SignalEntry, self._signals, signal, "signal", f"{at}: signals")
            for signal in names
        ]
        duplicates = {signal for signal in names if names.count(signal) > 1}
        if duplicates:
            raise GradbrainError(f"{at}: signals: {', '.join(sorted(duplicates))} listed twice")
        activations = [signal.name for signal in signals if signal.role == ACTIVATION]
        if len(activations) != 1:
            raise GradbrainError(
                f"{at}: signals: {len(activations)} have `role: activation` "
                f"({', '.join(activations) or 'none'}), expected one: every fit needs it"
            )
        found = validate(SignalSet, {"name": name, **content, "signals": signals}, where=at)
        self._check_controls(found, at)
        return found

    def _check_controls(self, signal_set: SignalSet, where: str) -> None:
        """Refuse controls that say of nothing in the set that they control it."""
        for signal in signal_set.signals:
            if signal.role != CONTROL:
                continue
            if not signal.control_of:
                raise GradbrainError(
                    f"{self.place('signal', signal.name)}: control_of: missing key; name the "
                    "signals that it controls, e.g. control_of: [gradient_dino], or all of a "
                    "family, e.g. control_of: {rule: [backprop]}"
                )
            if not isinstance(signal.control_of, Cotangents):
                at = f"{self.place('signal', signal.name)}: control_of"
                for name in signal.control_of:
                    choose(name, self._signals, what="signal", where=at)
            if not any(signal.controls(other) for other in signal_set.signals):
                raise GradbrainError(
                    f"{where}: signals: the control {signal.name!r} controls none of the learning "
                    f"signals of the set ({self.place('signal', signal.name)}: control_of: "
                    f"{signal.model_dump(mode='json')['control_of']}); add the signal that it "
                    "controls, or leave the control out"
                )

    def layers(self, architecture: str, *, where: str) -> list[Layer]:
        """Layers of an architecture, in order of depth."""
        if architecture not in self._layers:
            folder = self._own_folder(architecture)
            output = shlex.quote(f"{folder}/layers.csv")
            beside = "" if self._own_folders else f", and registries: [{folder}] in the study"
            raise GradbrainError(
                f"{where}: layers.csv ({self.where}) has no rows for architecture "
                f"{architecture!r}. To add them: python scripts/list_layers.py "
                f"{shlex.quote(architecture)} --output {output}{beside}"
            )
        return self._layers[architecture]

    def _own_folder(self, architecture: str) -> Path:
        """Folder of the user's in which layers of an architecture belong: beside a model of it."""
        own = set(self._own_folders)
        beside = [
            path.parent
            for path, content in self._models.values()
            if content.get("architecture") == architecture and path.parent in own
        ]
        return [Path("my_registry"), *self._own_folders, *beside][-1]
