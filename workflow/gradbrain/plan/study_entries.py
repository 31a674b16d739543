"""Entries of the registries that a study names, and what these need."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.model_factors import Comparisons, ModelFacts, comparisons, facts_of
from gradbrain.config.plugins import (
    Plugin,
    Plugins,
    Requirement,
    WeightsOptions,
    set_needs,
    signal_needs,
    signal_plugins,
    uncertain_signals,
    weights_use,
)
from gradbrain.config.registries import Layer
from gradbrain.config.schema import (
    DatasetEntry,
    ModelEntry,
    NuisanceBand,
    SignalEntry,
    SignalSet,
    StrictModel,
)
from gradbrain.datasets.adapter import DatasetAdapter
from gradbrain.datasets.registry import adapter, read_options
from gradbrain.encoding.places import is_shared
from gradbrain.plan.parts import remembered
from gradbrain.plan.selection import Selection
from gradbrain.vocabulary.image_statistics import ALL_LEVELS, ARCHITECTURE
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

# Folder of data sets and weights.
DATA = "data"
# What a rule needs so that a layer cannot be extracted by itself.
WHOLE_MODEL: frozenset[Requirement] = frozenset({"chain", "fit"})


class StudyEntries(Selection):
    """Data sets, models and signal sets of a study, by name."""

    @property
    def plugins(self) -> Plugins:
        """What the study may name: rules, objectives, adapters, figures, sources of weights."""
        return self.study.registries.plugins

    @property
    def stimuli(self) -> dict[str, DatasetEntry]:
        """Stimulus set -> the data set that it belongs to."""
        return self.study.stimuli

    @cached_property
    def fetchable(self) -> list[str]:
        """Data sets with public files, which are fetched when asked for."""
        entries = [
            self.study.registries.dataset(name, where="datasets.yaml")
            for name in self.study.registries.datasets
        ]
        return [entry.name for entry in entries if entry.fetch and entry.fetch.is_fetchable]

    def adapter(self, entry: DatasetEntry) -> tuple[DatasetAdapter, Any]:
        """What reads a data set, and the entry's options as it understands them."""
        where = self.study.registries.place("data set", entry.name)
        module = adapter(entry.adapter, where=where, plugins=self.plugins)
        return module, read_options(entry, where=where, plugins=self.plugins)

    def adapter_plugin(self, entry: DatasetEntry) -> Plugin:
        """Plug-in that reads a data set."""
        where = self.study.registries.place("data set", entry.name)
        return self.plugins.find("adapters", entry.adapter, where=f"{where}: adapter")

    def stimuli_plugins(self, stimuli: str) -> list[Plugin]:
        """Adapter that reads the images of a stimulus set."""
        return [self.adapter_plugin(self.stimuli[stimuli])]

    def response_plugins(self, subject: str) -> list[Plugin]:
        """Adapter that reads the responses of a subject."""
        return [self.adapter_plugin(self.study.subjects[subject])]

    def space(self, entry: DatasetEntry) -> str:
        """Space that the responses of a data set live in, e.g. ``fsaverage5``."""
        module, options = self.adapter(entry)
        return str(module.space(entry, options))

    @cached_property
    def shared_datasets(self) -> list[str]:
        """Data sets whose subjects predict one another: they share images and places."""
        return [
            name
            for name, entry in self.study.datasets.items()
            if entry.stimuli is not None
            and len(self.subjects_of(name)) > 1
            and is_shared(self.space(entry))
        ]

    @cached_property
    def options_of_datasets(self) -> dict[str, Any]:
        """Data set -> its options, as its adapter understands them."""
        return {name: self.adapter(entry)[1] for name, entry in self.study.datasets.items()}

    @remembered
    def model_entry(self, name: str) -> ModelEntry:
        """Entry of any model of the registry."""
        return self.study.registries.model(name, where=self.study.where)

    @remembered
    def signal_set(self, name: str) -> SignalSet:
        """Any signal set of the registry, or of a universe."""
        if name in self.universe_sets:
            return self.universe_sets[name]
        return self.study.registries.signal_set(name, where=self.study.where)

    def taken_set(self, model: str, name: str) -> SignalSet:
        """The part of a signal set that is taken from a model: all of it, or activations alone.

        What is no network has no learning signals, and nothing to pool, project or fit.
        """
        whole = self.signal_set(name)
        return whole if self.model_entry(model).is_network else whole.of_activation()

    def known_layers(self, model: str) -> list[Layer]:
        """Every layer of a model that is known, in order of depth, whatever the study takes."""
        architecture = self.model_entry(model).architecture
        return self.study.registries.layers(architecture, where=self.study.where)

    def layer(self, model: str, name: str) -> Layer:
        """A layer of a model."""
        for row in self.known_layers(model):
            if row.name == name:
                return row
        raise GradbrainError(
            f"{self.study.where}: model {model!r} has no layer {name!r}. "
            f"Allowed: {', '.join(self.chain(model))}"
        )

    def depths(self, model: str) -> list[str]:
        """Names of all known layers, each with its depth."""
        return [f"{row.name} {row.depth}" for row in self.known_layers(model)]

    def chain(self, model: str) -> list[str]:
        """Names of all known layers, in order of depth."""
        return [row.name for row in self.known_layers(model)]

    def statistics_levels(self) -> list[Layer]:
        """Levels of image statistics, and all of them side by side."""
        levels = self.study.registries.layers(ARCHITECTURE, where=self.study.where)
        return [*levels, Layer(ARCHITECTURE, ALL_LEVELS, len(levels), 1.0)]

    def weights_options(self, model: str) -> WeightsOptions:
        """Options of the source of a model's weights."""
        return self._weights(model)[1]

    @remembered
    def _weights(self, model: str) -> tuple[Plugin, WeightsOptions]:
        where = self.study.registries.place("model", model)
        found = weights_use(self.model_entry(model), self.plugins, where=where)
        return found.plugin, found.options

    def weights_plugin(self, model: str) -> Plugin:
        """Plug-in that gives a model its weights."""
        return self._weights(model)[0]

    def weights(self, model: str) -> list[str]:
        """Files that the weights of a model are read from; optional ones where they are here."""
        entry, options = self.model_entry(model), self.weights_options(model)
        optional = (self._below_data(model, name) for name in options.optional_files(entry))
        return [
            *(self._below_data(model, name) for name in options.required_files(entry)),
            *(path for path in optional if Path(path).is_file()),
        ]

    def _below_data(self, model: str, name: str) -> str:
        """Path of a file of weights, which must lie below ``data/``."""
        parts = PurePosixPath(name).parts
        leaves = name.startswith(("/", "~")) or ".." in parts
        if leaves or not parts or name.endswith("/") or set(name) & set("{}\\\0\n"):
            raise GradbrainError(
                f"{self.study.registries.place('model', model)}: weights: {name!r} is no path of a "
                "file below data/, such as weights/mine.safetensors (no .., no braces); of a file "
                "that lies elsewhere name the folder, roots: {weights: /path/to/folder}, and give "
                "its path as weights/<file>"
            )
        return f"{DATA}/{name}"

    @remembered
    def needs(self, signal_set: str) -> frozenset[Requirement]:
        """What the signals of a set need."""
        return set_needs(self.signal_set(signal_set), self.plugins)

    def takes_chain(self, signal_set: str) -> bool:
        """Whether a rule of a set needs all layers of the model in one pass."""
        return bool(self.needs(signal_set) & WHOLE_MODEL)

    def fitted_signals(self, signal_set: str) -> list[SignalEntry]:
        """Signals of a set whose rule has a model of its own, fitted on calibration images."""
        return [
            signal
            for signal in self.signal_set(signal_set).signals
            if "fit" in signal_needs(signal, self.plugins)
        ]

    def text_weights(self, model: str, signal_set: str) -> list[str]:
        """Files of a model's text tower that lie here, where the signals compare with text."""
        tower = self.model_entry(model).text_tower
        if tower is None or "text_tower" not in self.needs(signal_set):
            return []
        folder = Path(DATA) / tower.folder
        return sorted(path.as_posix() for path in folder.iterdir()) if folder.is_dir() else []

    @property
    def nuisance(self) -> tuple[NuisanceBand, ...]:
        """Bands that stand beside all layers' activations."""
        return self.study.settings.encoding.nuisance

    def band_set(self, band: NuisanceBand) -> str:
        """Signal set of a nuisance band: its own, or that of the study."""
        return band.signal_set or self.study.signal_set.name

    def signals_beside(self, model: str) -> list[str]:
        """Names of the signals that the study takes from a model beside its activation."""
        taken = self.taken_set(model, self.set_of(model)).signals
        return [signal.name for signal in taken if signal.role != ACTIVATION]

    @remembered
    def uncertain_signals(self, model: str) -> tuple[SignalEntry, ...]:
        """Signals of a model that depend on chance: their reliability is measured."""
        return uncertain_signals(self.taken_set(model, self.set_of(model)), self.plugins)

    @cached_property
    def compares_rules(self) -> bool:
        """Whether the study has learning signals of several rules, which may be alike."""
        learning = (one for one in self.study.signal_set.signals if one.role == LEARNING)
        return len({signal.rule for signal in learning}) > 1

    @property
    def untrained(self) -> list[str]:
        """Models of the study whose weights were not learnt."""
        return [name for name in self.study.models if not self.weights_options(name).trained]

    @cached_property
    def model_facts(self) -> list[ModelFacts]:
        """What sets the networks of the study apart."""
        untrained = set(self.untrained)
        return [
            facts_of(entry, trained=name not in untrained)
            for name, entry in self.study.models.items()
            if entry.is_network
        ]

    @cached_property
    def comparisons(self) -> Comparisons:
        """Contrasts of models of the study, and what cannot be compared."""
        where = f"{self.study.source('contrasts')}: contrasts"
        return comparisons(self.model_facts, self.study.settings.contrasts, where=where)

    def registries(self) -> list[str]:
        """Folders that hold registries."""
        return [str(self.root / "config"), *self.study.settings.registries]

    def stimuli_registries(self, stimuli: str) -> list[str]:
        """Folder that says what to fetch for a stimulus set, or pins files; none where no one does.

        Studies share stimuli, so the other folders of one study are no parameter of theirs.
        """
        return self._pinning_registries(self.stimuli[stimuli])

    def response_registries(self, subject: str) -> list[str]:
        """Folder that pins files of a subject's data set; none where no file is pinned."""
        return self._pinning_registries(self.study.subjects[subject])

    def _pinning_registries(self, entry: DatasetEntry) -> list[str]:
        pinned = entry.fetch is not None and entry.fetch.files
        return [self.registry_of(entry)] if pinned else []

    def registry_of(self, entry: DatasetEntry) -> str:
        """Folder that lists a data set, as :meth:`registries` names it."""
        home = self.study.registries.dataset_folder(entry.name).resolve()
        return next(folder for folder in self.registries() if Path(folder).resolve() == home)

    @remembered
    def signal_plugins(self, signal_set: str) -> list[Plugin]:
        """Rules and objectives that the signals of a set use, those inside others included."""
        signals = self.signal_set(signal_set).signals
        found = (plugin for signal in signals for plugin in signal_plugins(signal, self.plugins))
        return sorted(dict.fromkeys(found), key=lambda plugin: (plugin.kind, plugin.name))

    def activation_plugins(self, signal_set: str) -> list[Plugin]:
        """Plug-ins that the activation of a set names, which its identity is read with."""
        (activation,) = self.signal_set(signal_set).of_activation().signals
        return list(signal_plugins(activation, self.plugins))

    @staticmethod
    def as_json(settings: StrictModel, *, without: tuple[str, ...] = ()) -> str:
        """Settings as one command-line argument, without the keys that a job does not consume."""
        return settings.model_dump_json(exclude=set(without))
