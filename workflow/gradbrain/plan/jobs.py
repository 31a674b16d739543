"""Paths, inputs and parameters of the jobs of a study: what the rules ask for by name."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.definition import feature_definition
from gradbrain.config.model_factors import Comparisons, ModelFacts, comparisons, facts_of
from gradbrain.config.plugins import (
    LIBRARY,
    Plugin,
    Plugins,
    Requirement,
    WeightsOptions,
    set_needs,
    signal_needs,
    signal_plugins,
    uncertain_signals,
    viewing_objectives,
    weights_use,
)
from gradbrain.config.registries import Layer
from gradbrain.config.schema import (
    BASELINE_SETTINGS,
    CEILING_SETTINGS,
    MEASUREMENT_SETTINGS,
    PREDICTION_SETTINGS,
    RULE_PAIR_SETTINGS,
    UNIQUE_SETTINGS,
    DatasetEntry,
    ModelEntry,
    NuisanceBand,
    SignalEntry,
    SignalSet,
    StrictModel,
)
from gradbrain.config.study import SHARED, ResolvedStudy
from gradbrain.config.suggestions import choose
from gradbrain.datasets.adapter import DatasetAdapter
from gradbrain.datasets.fold_files import ENDINGS, fold_problem, is_fold_file, read_fold_file
from gradbrain.datasets.image_choice import check_image_list, read_image_list
from gradbrain.datasets.registry import adapter, read_options
from gradbrain.encoding.places import is_shared
from gradbrain.figures.declarations import Declaration, declaration
from gradbrain.plan.checkpoints import wrong_checkpoints
from gradbrain.plan.code_inputs import import_closure
from gradbrain.plan.entries import entry_records
from gradbrain.plan.multiverse import Multiverse
from gradbrain.plan.notices import notices
from gradbrain.plan.roots import link_root
from gradbrain.plan.signal_checks import SignalChecks
from gradbrain.plan.sizes import absurd_sizes
from gradbrain.store import array_shape, read_definition, read_table
from gradbrain.vocabulary.artefacts import ARTEFACTS, RESULTS, SIGNALS, artefact
from gradbrain.vocabulary.image_statistics import ALL_LEVELS, ARCHITECTURE
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING, ROI, TIME

# Measured by benchmarks/bench_fit_memory.py (4.5 MB per MB of responses and 340 MB), rounded up,
# with 2 GB for features of some thousand columns.
FIT_BASE_MB = 3000
FIT_MB_PER_RESPONSE_MB = 5.5
REDUCTION_MB = 16000
DATA = "data"
# Results that only a study with varied choices has.
MULTIVERSE = frozenset({"universes", "specification_curve"})
# Results that only a study has which compares dissimilarities of predictions.
PREDICTION_RSA = frozenset({"prediction_rsa", "second_opinions"})


# Model, signal set, and the attributes of a feature store.
KeptFeatures = tuple[str, str, dict[str, Any]]
# What a rule needs so that a layer cannot be extracted by itself.
WHOLE_MODEL: frozenset[Requirement] = frozenset({"chain", "fit"})


def _either(names: Sequence[str]) -> str:
    """Names as the shell expands them, in their order; they hold nothing that it would quote."""
    return names[0] if len(names) == 1 else f"{{{','.join(names)}}}"


def _problems_of(where: str, read: Callable[[], object]) -> list[str]:
    """Say what keeps something of the study from being read."""
    try:
        read()
    except GradbrainError as error:
        return [f"{where}: {error}"]
    return []


class Plan:
    """The jobs of a study.

    Parameters
    ----------
    study
        The study.
    root
        Folder of the checkout, as it should stand in paths of code: relative where Snakemake
        runs in the checkout, so that a moved checkout reruns nothing.
    """

    def __init__(self, study: ResolvedStudy, root: Path) -> None:
        self.study = study
        self.root = root
        self.results = f"{RESULTS}/{study.name}"
        # Thousands of jobs ask for the same few closures, entries and sizes.
        self._code: dict[tuple[Plugin | str, ...], list[str]] = {}
        self._model_entries: dict[str, ModelEntry] = {}
        self._signal_sets: dict[str, SignalSet] = {}
        self._fit_memory: dict[str, int] = {}
        self._stores_of_responses: dict[str, Path] = {}
        self._needs: dict[str, frozenset[Requirement]] = {}
        self._plugins_of_set: dict[str, list[Plugin]] = {}
        self._plugins_of_extraction: dict[tuple[str, str], list[Plugin]] = {}
        self._sources: dict[str, tuple[Plugin, WeightsOptions]] = {}
        self._rules: dict[str, tuple[str, ...]] = {}
        self.plugins: Plugins = study.registries.plugins
        settings = study.settings
        self.models = [name for name in study.models if self._wanted(name, settings.only_models)]
        self.subjects = [
            name for name in study.subjects if self._wanted(name, settings.only_subjects)
        ]
        self.multiverse = Multiverse(self)
        self._signal_sets |= self.multiverse.signal_sets

    @staticmethod
    def _wanted(name: str, only: tuple[str, ...]) -> bool:
        return not only or name in only

    # --- data sets and stimuli ---------------------------------------------------------------

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

    def subjects_of(self, dataset: str) -> list[str]:
        """Subjects of a data set that the study takes, restricted or not."""
        return [name for name, entry in self.study.subjects.items() if entry.name == dataset]

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

    # --- images and folds of the study's own -------------------------------------------------

    @property
    def image_list(self) -> list[str]:
        """File that names the images of the study, where a file does."""
        images = self.study.settings.images
        return [images] if isinstance(images, str) and images != SHARED else []

    def chosen_from(self, stimuli: str) -> list[str]:
        """Stimulus tables that the images of the study are chosen from.

        Named images may be in any of them.
        """
        sources = self.study.chosen_stimuli[stimuli]
        if self.study.settings.images != SHARED:
            sources = tuple(name for own in self.study.chosen_stimuli.values() for name in own)
        return [self.path("stimuli", stimuli=name) for name in sources]

    def choice_of_images(self, stimuli: str) -> str:
        """Options of the command line that say which images are kept, of which stimulus set."""
        images = self.study.settings.images
        if images == SHARED:
            return "--shared"
        kept = f"--keep {shlex.quote(self.study.chosen_stimuli[stimuli][0])}"
        if isinstance(images, str):
            return f"{kept} --list {shlex.quote(images)}"
        return f"{kept} --images {shlex.quote(json.dumps(images))}"

    @cached_property
    def stimuli_with_folds(self) -> dict[str, str]:
        """Stimulus set -> the file or split that its outer folds come from."""
        found = {name: self.study.folds_of(name) for name in map(self.study.seen_by, self.subjects)}
        return {name: folds for name, folds in found.items() if folds is not None}

    def fold_file(self, stimuli: str) -> list[str]:
        """File of the folds of a stimulus set; none where a split of the data set is named."""
        said = self.stimuli_with_folds[stimuli]
        return [said] if is_fold_file(said) else []

    def split_entry(self, stimuli: str) -> DatasetEntry:
        """Data set whose split is named."""
        return self.study.subjects[self.study.viewers_of(stimuli)[0]]

    def split_options(self, stimuli: str) -> str:
        """Options of the command line that name a split of the data set; none with a file."""
        said = self.stimuli_with_folds[stimuli]
        if is_fold_file(said):
            return ""
        entry = self.split_entry(stimuli)
        viewers = tuple(self.study.viewers_of(stimuli))
        parts = {
            "entry": self._entry_json(entry, viewers),
            "split": said,
            "data": f"{DATA}/{entry.name}",
        }
        return " ".join(f"--{name} {shlex.quote(value)}" for name, value in parts.items())

    def images_and_folds(self, subject: str) -> dict[str, list[str]]:
        """Tables by which the responses of a subject are narrowed, by command-line option."""
        stimuli = self.study.seen_by(subject)
        tables = {}
        if stimuli in self.study.chosen_stimuli:
            tables["images"] = [self.path("stimuli", stimuli=stimuli)]
        if stimuli in self.stimuli_with_folds:
            tables["folds"] = [self.path("folds", stimuli=stimuli)]
        return tables

    def n_folds_of(self, stimuli: str) -> int | None:
        """Outer folds that the groups of a stimulus set must fill; None where they need not."""
        if stimuli in self.stimuli_with_folds or not self.study.viewers_of(stimuli):
            return None
        return self.study.settings.encoding.n_folds

    def _fold_problems(self) -> list[str]:
        """Say what is wrong with folds and lists of images, as far as it is known by now."""
        problems = []
        images, where = self.study.settings.images, f"{self.study.source('images')}: images"
        for path in self.image_list:
            problems += _problems_of(where, partial(read_image_list, Path(path)))
        if isinstance(images, tuple):
            problems += _problems_of(where, partial(check_image_list, images, where="the list"))
        where = f"{self.study.source('folds')}: folds"
        for name in self.stimuli_with_folds:
            for path in self.fold_file(name):
                problems += _problems_of(where, partial(read_fold_file, Path(path)))
            if not self.fold_file(name):
                problems += self._split_problems(name)
        if not problems:
            for name in map(self.study.seen_by, self.subjects):
                problems += self._too_few_groups(name)
        return list(dict.fromkeys(problems))

    def _split_problems(self, stimuli: str) -> list[str]:
        """Say that no split of the data set is called so."""
        said, entry = self.stimuli_with_folds[stimuli], self.split_entry(stimuli)
        where = f"{self.study.source('folds')}: folds"
        source, options = self.adapter(entry)
        splits = source.splits
        if not splits:
            return [
                f"{where}: {said!r} is no file ({', '.join(ENDINGS)}), and data set {entry.name!r} "
                "brings no splits; write a table of image_id and fold"
            ]
        if said not in splits:
            return [f"{where}: {entry.name!r} has no split {said!r}; it has {', '.join(splits)}"]
        data = Path(DATA) / entry.name
        if not data.is_dir():
            # That it is missing is told elsewhere.
            return []
        own = entry.model_copy(update={"subjects": tuple(self.study.viewers_of(stimuli))})
        return _problems_of(where, partial(source.folds_of_split, own, options, said, data))

    def _too_few_groups(self, stimuli: str) -> list[str]:
        """Say that images do not fill the outer folds, where their table is made already."""
        n_folds, table = self.n_folds_of(stimuli), Path(self.path("stimuli", stimuli=stimuli))
        if n_folds is None or not table.is_file():
            return []
        try:
            problem = fold_problem(list(read_table(table, kind="stimuli")["group"]), n_folds)
        except GradbrainError:
            # A damaged table is told by the job that reads it.
            return []
        where = f"{self.study.source('encoding', 'n_folds')}: stimulus set {stimuli!r}"
        return [f"{where}: {problem}"] if problem else []

    def planting_features(self, subject: str) -> list[str]:
        """Feature stores that the responses of a simulated subject are planted from."""
        entry = self.study.subjects[subject]
        module, options = self.adapter(entry)
        return [
            self.features(model, layer, signal_set, entry.stimuli_of(subject))
            for model, layer, signal_set in module.required_features(entry, options)
        ]

    @cached_property
    def planting_models(self) -> dict[tuple[str, str], list[str]]:
        """(model, signal set) -> layers that simulated brains of the study are planted from."""
        planted: dict[tuple[str, str], list[str]] = {}
        for entry in self.study.datasets.values():
            module, options = self.adapter(entry)
            for model, layer, signal_set in module.required_features(entry, options):
                layers = planted.setdefault((model, signal_set), [])
                if layer not in layers:
                    layers.append(layer)
        return planted

    # --- registry entries by name ------------------------------------------------------------

    def model_entry(self, name: str) -> ModelEntry:
        """Entry of any model of the registry."""
        if name not in self._model_entries:
            found = self.study.registries.model(name, where=self.study.where)
            self._model_entries[name] = found
        return self._model_entries[name]

    def signal_set(self, name: str) -> SignalSet:
        """Any signal set of the registry."""
        if name not in self._signal_sets:
            found = self.study.registries.signal_set(name, where=self.study.where)
            self._signal_sets[name] = found
        return self._signal_sets[name]

    def taken_set(self, model: str, name: str) -> SignalSet:
        """The part of a signal set that is taken from a model: all of it, or activations alone.

        What is no network has no learning signals, and nothing to pool, project or fit.
        """
        whole = self.signal_set(name)
        return whole if self.model_entry(model).is_network else whole.of_activation()

    def layer(self, model: str, name: str) -> Layer:
        """A layer of a model."""
        rows = self.study.registries.layers(
            self.model_entry(model).architecture, where=self.study.where
        )
        for row in rows:
            if row.name == name:
                return row
        raise GradbrainError(
            f"{self.study.where}: model {model!r} has no layer {name!r}. "
            f"Allowed: {', '.join(row.name for row in rows)}"
        )

    def depths(self, model: str) -> list[str]:
        """Every layer of a model that is known, with its depth, whatever the study takes."""
        architecture = self.model_entry(model).architecture
        rows = self.study.registries.layers(architecture, where=self.study.where)
        return [f"{row.name} {row.depth}" for row in rows]

    def layers(self, model: str) -> list[str]:
        """Layers that the study takes from a model, in order of depth."""
        return [layer.name for layer in self.study.layers[model]]

    def weights_options(self, model: str) -> WeightsOptions:
        """Options of the source of a model's weights."""
        return self._weights(model)[1]

    def _weights(self, model: str) -> tuple[Plugin, WeightsOptions]:
        if model not in self._sources:
            where = self.study.registries.place("model", model)
            found = weights_use(self.model_entry(model), self.plugins, where=where)
            self._sources[model] = (found.plugin, found.options)
        return self._sources[model]

    def weights(self, model: str) -> list[str]:
        """Files that the weights of a model are read from; optional ones where they are here."""
        entry, options = self.model_entry(model), self.weights_options(model)
        optional = (self._below_data(model, name) for name in options.optional_files(entry))
        return [
            *(self._below_data(model, name) for name in options.required_files(entry)),
            *(path for path in optional if Path(path).is_file()),
        ]

    @cached_property
    def trained_here(self) -> list[str]:
        """Networks that a job of the study trains."""
        return [name for name in self.networks if self.weights_options(name).training_images()]

    def trained(self, model: str) -> list[str]:
        """What the job gave that trained a network, store and table; none where none did."""
        if not self.weights_options(model).training_images():
            return []
        return [self.path(kind, model=model) for kind in ("trained_network", "training")]

    @property
    def trainings(self) -> list[str]:
        """Tables of how the selected models learnt that the study trains."""
        return [
            self.path("training", model=model)
            for model in self.models
            if self.weights_options(model).training_images()
        ]

    def weight_inputs(self, model: str) -> list[str]:
        """All files that the weights of a network are read from, those below ``data/`` first."""
        return [*self.weights(model), *self.trained(model)]

    def training_images(self, model: str) -> str:
        """Table of the images that a network is trained on."""
        return self.path("stimuli", stimuli=self.weights_options(model).training_images())

    def training_entry(self, model: str) -> str:
        """Entry of a model as JSON, without words, as its training reads it."""
        said = ("label", "colour", "licence", "citation", "default_objective", "sibling", "factors")
        return self.as_json(self.model_entry(model), without=said)

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

    def needs(self, signal_set: str) -> frozenset[Requirement]:
        """What the signals of a set need."""
        if signal_set not in self._needs:
            self._needs[signal_set] = set_needs(self.signal_set(signal_set), self.plugins)
        return self._needs[signal_set]

    def takes_chain(self, signal_set: str) -> bool:
        """Whether a rule of a set needs all layers of the model in one pass."""
        return bool(self.needs(signal_set) & WHOLE_MODEL)

    def is_fused(self, signal_set: str) -> bool:
        """Whether one job takes all layers of a model: as set, or because a rule needs them all.

        Sets of a multiverse are read from shared passes, of all layers.
        """
        unit = self.study.settings.features.unit
        varied = signal_set in self.multiverse.signal_sets
        return unit == "model" or varied or self.takes_chain(signal_set)

    def fitted_signals(self, signal_set: str) -> list[SignalEntry]:
        """Signals of a set whose rule has a model of its own, fitted on calibration images."""
        return [
            signal
            for signal in self.signal_set(signal_set).signals
            if "fit" in signal_needs(signal, self.plugins)
        ]

    def feedback(self, model: str, signal_set: str) -> list[str]:
        """Fitted models that the extraction of a signal set reads."""
        calibration = self.signal_set(signal_set).calibration
        return [
            self.path("feedback", model=model, signal=signal.name, calibration=calibration)
            for signal in self.fitted_signals(signal_set)
        ]

    def chain(self, model: str) -> list[str]:
        """All layers of a model that are known, in order of depth."""
        architecture = self.model_entry(model).architecture
        rows = self.study.registries.layers(architecture, where=self.study.where)
        return [row.name for row in rows]

    def text_weights(self, model: str, signal_set: str) -> list[str]:
        """Files of a model's text tower that lie here, where the signals compare with text."""
        tower = self.model_entry(model).text_tower
        if tower is None or "text_tower" not in self.needs(signal_set):
            return []
        folder = Path(DATA) / tower.folder
        return sorted(path.as_posix() for path in folder.iterdir()) if folder.is_dir() else []

    # --- paths -------------------------------------------------------------------------------

    def path(self, kind: str, **keys: str) -> str:
        """Path of a result, by its kind; keys that are left out stay as wildcards in braces."""
        declared = artefact(kind)
        if "study" in declared.keys:
            keys = {"study": self.study.name, **keys}
        return declared.path(**keys)

    @staticmethod
    def keys_of(kind: str, path: str) -> dict[str, str]:
        """Keys of a result, read back from its path by the template of its kind."""
        return artefact(kind).keys_of(path)

    def version(self, kind: str) -> int:
        """Version of a kind of result; raised by hand with what it holds."""
        return artefact(kind).version

    def features(self, model: str, layer: str, signal_set: str, stimuli: str) -> str:
        """Feature store."""
        return self.path(
            "features", model=model, layer=layer, signal_set=signal_set, stimuli=stimuli
        )

    @cached_property
    def statistics_models(self) -> list[str]:
        """Models of the study, of its brains and nuisance bands that are image statistics."""
        names = dict.fromkeys(
            [
                *self.study.models,
                *(model for model, _ in self.planting_models),
                *(band.model for band in self.nuisance),
            ]
        )
        return [name for name in names if not self.model_entry(name).is_network]

    @cached_property
    def networks(self) -> list[str]:
        """Models that features are extracted from by a network."""
        names = dict.fromkeys(model for model, _, _, _ in self.all_features())
        return [name for name in names if self.model_entry(name).is_network]

    def statistics_levels(self) -> list[Layer]:
        """Levels of image statistics, and all of them side by side."""
        levels = self.study.registries.layers(ARCHITECTURE, where=self.study.where)
        return [*levels, Layer(ARCHITECTURE, ALL_LEVELS, len(levels), 1.0)]

    def all_features(self) -> list[tuple[str, str, str, str]]:
        """(model, signal set, layer, stimuli) of every feature store that the study needs."""
        signal_set = self.study.signal_set.name
        stores: dict[tuple[str, str, str, str], None] = {}
        for subject in self.subjects:
            entry = self.study.subjects[subject]
            stimuli = self.study.seen_by(subject)
            module, options = self.adapter(entry)
            for model, layer, planted in module.required_features(entry, options):
                stores[model, planted, layer, entry.stimuli_of(subject)] = None
            for model in self.models:
                for layer in self.layers(model):
                    for name in (signal_set, *self.multiverse.signal_sets):
                        stores[model, name, layer, stimuli] = None
            for band in self.nuisance:
                stores[band.model, self.band_set(band), band.layer, stimuli] = None
        return list(stores)

    @property
    def nuisance(self) -> tuple[NuisanceBand, ...]:
        """Bands that stand beside all layers' activations."""
        return self.study.settings.encoding.nuisance

    def band_set(self, band: NuisanceBand) -> str:
        """Signal set of a nuisance band: its own, or that of the study."""
        return band.signal_set or self.study.signal_set.name

    def nuisance_features(self, subject: str) -> list[str]:
        """Feature stores of the nuisance bands, for the images that a subject saw."""
        stimuli = self.study.seen_by(subject)
        return [
            self.features(band.model, band.layer, self.band_set(band), stimuli)
            for band in self.nuisance
        ]

    def features_of_model(self, model: str, stimuli: str) -> list[str]:
        """Feature stores of all layers that the study takes from a model."""
        signal_set = self.study.signal_set.name
        return [self.features(model, layer, signal_set, stimuli) for layer in self.layers(model)]

    def features_for_subject(self, model: str, subject: str) -> list[str]:
        """Feature stores of all layers of a model, for the images that a subject saw."""
        return self.features_of_model(model, self.study.seen_by(subject))

    def features_of_fit(self, model: str, layer: str, subject: str) -> list[str]:
        """Feature stores that a fit reads: of all layers, unless their reduction is given."""
        settings = self.study.settings.encoding
        if settings.baseline_components is None:
            return self.features_for_subject(model, subject)
        stimuli = self.study.seen_by(subject)
        return [self.features(model, layer, self.study.signal_set.name, stimuli)]

    def baseline(self, model: str, subject: str) -> list[str]:
        """Reduced activations of all layers, where the study reduces them."""
        if self.study.settings.encoding.baseline_components is None:
            return []
        return [self.path("baseline", model=model, subject=subject)]

    @property
    def models_fitted_whole(self) -> list[str]:
        """Models of which one job fits all layers, as the study asks."""
        whole = self.study.settings.encoding.unit == "model"
        return list(self.study.models) if whole else []

    def fits(self, model: str) -> str:
        """Folder of the encoding results of a model."""
        return str(Path(self.path("encoding", model=model)).parents[1])

    def encoding(self, model: str, *, kind: str, layers: Iterable[str] | None = None) -> list[str]:
        """Encoding results of a model: all subjects, and all layers unless some are given.

        Parameters
        ----------
        model
            Entry of models.yaml.
        kind
            ``"encoding"`` for the stores, ``"fit_scores"`` for the tables beside them.
        layers
            Layers; those of the study where left out.
        """
        return [
            self.path(kind, model=model, layer=layer, subject=subject)
            for layer in (self.layers(model) if layers is None else layers)
            for subject in self.subjects
        ]

    def unique(self, model: str) -> list[str]:
        """Unique variance of the signals of a network, of all subjects."""
        if len(self.taken_set(model, self.study.signal_set.name).signals) < 2:
            return []
        return [self.path("unique", model=model, subject=subject) for subject in self.subjects]

    @cached_property
    def rule_pairs(self) -> list[str]:
        """Tables of what signals explain beside one another, of all networks that have them.

        Raises
        ------
        GradbrainError
            ``encoding.rule_pairs`` names what is no signal of the study that can have a unique
            part.
        """
        wanted = self.study.settings.encoding.rule_pairs
        known = [one.name for one in self.study.signal_set.signals if one.role != ACTIVATION]
        where = f"{self.study.source('encoding', 'rule_pairs')}: encoding.rule_pairs"
        for name in wanted:
            choose(name, known, what="signal beside the activation", where=where)
        return [
            self.path("rule_pairs", model=model, subject=subject)
            for model in self.models
            if wanted and self.model_entry(model).is_network
            for subject in self.subjects
        ]

    @property
    def ceilings(self) -> list[str]:
        """Tables of how well subjects predict one another."""
        return [self.path("ceilings", dataset=dataset) for dataset in self.shared_datasets]

    @property
    def rdm_ceilings(self) -> list[str]:
        """Tables of how alike the dissimilarities of subjects are, who saw the same images."""
        if not self.study.settings.rsa.encoding:
            return []
        return [
            self.path("rdm_ceilings", dataset=name)
            for name, entry in self.study.datasets.items()
            if entry.stimuli is not None and len(self.subjects_of(name)) > 1
        ]

    @property
    def second_opinions(self) -> list[str]:
        """Table of second opinions, where dissimilarities of predictions are compared."""
        return [self.path("second_opinions")] if self.study.settings.rsa.encoding else []

    @cached_property
    def uncertain_signals(self) -> tuple[SignalEntry, ...]:
        """Signals of the study that depend on chance: their reliability is measured."""
        return uncertain_signals(self.study.signal_set, self.plugins)

    @cached_property
    def compares_rules(self) -> bool:
        """Whether the study has learning signals of several rules, which may be alike."""
        learning = (one for one in self.study.signal_set.signals if one.role == LEARNING)
        return len({signal.rule for signal in learning}) > 1

    @property
    def alikenesses(self) -> list[str]:
        """Tables of how alike the signals of the selected networks are, one per stimulus set."""
        if not self.compares_rules:
            return []
        return [
            self.path("alikeness", model=model, stimuli=stimuli)
            for model in self.models
            if self.model_entry(model).is_network
            for stimuli in self.viewed_stimuli()
        ]

    def viewed_stimuli(self) -> list[str]:
        """Stimulus sets that the selected subjects saw."""
        viewed = (self.study.seen_by(name) for name in self.subjects)
        return list(dict.fromkeys(viewed))

    def reliability(self, model: str) -> list[str]:
        """Tables of how well the signals of a network repeat themselves, one per stimulus set."""
        if not (self.uncertain_signals and self.model_entry(model).is_network):
            return []
        return [
            self.path("reliability", model=model, stimuli=stimuli)
            for stimuli in self.viewed_stimuli()
        ]

    @property
    def reliabilities(self) -> list[str]:
        """Those tables of all selected models."""
        return [path for model in self.models for path in self.reliability(model)]

    def responses_of(self, dataset: str) -> list[str]:
        """Response stores of all subjects of a data set."""
        subjects = self.subjects_of(dataset)
        return self.all_subjects(*(self.path("responses", subject=name) for name in subjects))

    @property
    def responses(self) -> list[str]:
        """Response stores of all selected subjects."""
        return [self.path("responses", subject=name) for name in self.subjects]

    def rsa(self, model: str) -> list[str]:
        """RSA tables of a model."""
        return [self.path("rsa", model=model, subject=subject) for subject in self.subjects]

    @cached_property
    def fused_datasets(self) -> list[tuple[str, str, str]]:
        """(data set along regions, data set along time, stimulus set) that are fused."""
        if not self.study.settings.rsa.fusion:
            return []
        seen = {
            name: {self.study.seen_by(subject) for subject in self.subjects_of(name)}
            for name in self.study.datasets
        }
        axes = {name: entry.axis for name, entry in self.study.datasets.items()}
        found = [
            (space, time, next(iter(seen[space])))
            for space, time in itertools.product(seen, seen)
            if (axes[space], axes[time]) == (ROI, TIME)
            and seen[space] == seen[time]
            and len(seen[space]) == 1
        ]
        if not found:
            raise GradbrainError(
                f"{self.study.source('rsa', 'fusion')}: rsa.fusion: no two data sets of the study, "
                "one along regions and one along time, show the same images; take `images: shared`"
            )
        return found

    def fused_responses(self) -> list[str]:
        """Response stores of the people of all data sets that are fused."""
        names = dict.fromkeys(name for *pair, _ in self.fused_datasets for name in pair)
        return [path for name in names for path in self.responses_of(name)]

    def features_of_fused(self, model: str) -> list[str]:
        """Feature stores of a model that fusion reads."""
        sets = dict.fromkeys(stimuli for *_, stimuli in self.fused_datasets)
        return [path for stimuli in sets for path in self.features_of_model(model, stimuli)]

    def fusion_options(self, model: str) -> str:
        """Stores of each fusion as options of the command line."""
        words = []
        for space, time, stimuli in self.fused_datasets:
            words += ["--features", *self.features_of_model(model, stimuli)]
            words += ["--space", *self.responses_of(space), "--time", *self.responses_of(time)]
        return shlex.join(words)

    def per_model(self, kind: str) -> list[str]:
        """One result of a kind per selected model."""
        return [self.path(kind, model=model) for model in self.models]

    def fused_extractions(self) -> list[tuple[str, str, list[str]]]:
        """(model, signal set, layers) that one job each takes in a single pass."""
        fused = {
            (model, self.study.signal_set.name): self.layers(model) for model in self.study.models
        }
        others = [(key, layers) for key, layers in self.planting_models.items()]
        others += [((band.model, self.band_set(band)), [band.layer]) for band in self.nuisance]
        for key, layers in others:
            fused[key] = fused.get(key, []) + [
                layer for layer in layers if layer not in fused.get(key, [])
            ]
        return [
            (model, signal_set, layers)
            for (model, signal_set), layers in fused.items()
            if self.is_fused(signal_set) and self.model_entry(model).is_network
        ]

    def shared_extractions(self) -> list[tuple[str, list[str], list[str]]]:
        """(model, signal sets, layers) that one job each reads from the same passes."""
        return [
            (model, names, self.layers(model))
            for model in self.study.models
            for names in self.multiverse.passes
        ]

    @property
    def layerwise_sets(self) -> list[str]:
        """Signal sets of networks of the study of which one job takes a single layer."""
        names = dict.fromkeys(
            name for model, name, _, _ in self.all_features() if model in self.networks
        )
        return [name for name in names if not self.is_fused(name)]

    @cached_property
    def viewing_sets(self) -> list[str]:
        """Those of them whose objectives look at views: one job passes these for all layers."""
        return [
            name
            for name in self.layerwise_sets
            if viewing_objectives(self.signal_set(name).signals, self.plugins)
        ]

    def objective_targets(self, model: str, signal_set: str, stimuli: str) -> list[str]:
        """What the objectives of a set compare images with, where jobs by layer are handed it."""
        if signal_set not in self.viewing_sets:
            return []
        keys = {"model": model, "signal_set": signal_set, "stimuli": stimuli}
        return [self.path("objective_targets", **keys)]

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
        return [self._registry_of(entry)] if pinned else []

    def _registry_of(self, entry: DatasetEntry) -> str:
        """Folder that lists a data set, as :meth:`registries` names it."""
        home = self.study.registries.dataset_folder(entry.name).resolve()
        return next(folder for folder in self.registries() if Path(folder).resolve() == home)

    def fit_memory(self, subject: str) -> int:
        """Memory of a fit in MB, from the size of the responses; more of it after a failure.

        Before the responses are made their size is not known; Snakemake asks again when they are.
        """
        if subject not in self._fit_memory:
            if subject not in self._stores_of_responses:
                store = Path(self.path("responses", subject=subject))
                self._stores_of_responses[subject] = store
            shape = array_shape(self._stores_of_responses[subject], "response")
            if shape is None:
                return FIT_BASE_MB
            size = math.ceil(FIT_MB_PER_RESPONSE_MB * 4 * math.prod(shape) / 2**20)
            self._fit_memory[subject] = FIT_BASE_MB + size
        return self._fit_memory[subject]

    def reduction_memory(self, model: str, subject: str) -> int:
        """Memory of a reduction in MB, from the number of images and of all features.

        The kernel of the images and its decomposition, and the features twice, in float64.
        Before features and responses are made their sizes are not known.
        """
        responses = array_shape(self.path("responses", subject=subject), "response")
        activation = f"{SIGNALS}/{self.study.signal_set.activation}"
        shapes = [
            array_shape(path, activation) for path in self.features_for_subject(model, subject)
        ]
        if responses is None or None in shapes:
            return REDUCTION_MB
        n_images, width = responses[0], sum(shape[1] for shape in shapes if shape is not None)
        small = min(n_images, width)
        return FIT_BASE_MB + math.ceil(8 * (4 * small**2 + 3 * n_images * width) / 2**20)

    def rule_name(self, rule: str, *names: str) -> str:
        """Name of a rule that belongs to a model, a signal set or a data set.

        Snakemake's rules have names of letters, digits and _, entries may also have - and ``.``;
        of entries that differ in these alone, all but the first have a digest in the name.
        """
        name = re.sub(r"\W", "_", "_".join([rule, *names]))
        if self._rules.setdefault(name, names) == names:
            return name
        digest = hashlib.sha256("/".join(names).encode()).hexdigest()[:8]
        return f"{name}_{digest}"

    # --- code and parameters -----------------------------------------------------------------

    def script(self, name: str) -> str:
        """Path of a command-line entry."""
        return str(self.root / "scripts" / f"{name}.py")

    def code(self, script: str, *plugins: Plugin | str) -> list[str]:
        """Modules behind a command-line entry, and those that the job loads by name.

        Parameters
        ----------
        script
            Name of the command-line entry.
        *plugins
            Plug-ins, of the library or not, and names of modules.
        """
        key = (script, *plugins)
        if key not in self._code:
            modules = [
                item if isinstance(item, str) else item.module
                for item in plugins
                if isinstance(item, str) or item.in_library
            ]
            files = [
                item.path for item in plugins if isinstance(item, Plugin) and not item.in_library
            ]
            found = import_closure(
                self.root / "scripts" / f"{script}.py", self.root / "workflow", modules, files
            )
            self._code[key] = [str(file) for file in found[1:]]
        return self._code[key]

    @staticmethod
    def plugin_files(*plugins: Plugin) -> list[str]:
        """Files of those plug-ins that are not the library's, which a job must be told of."""
        return [str(item.path) for item in dict.fromkeys(plugins) if not item.in_library]

    def asset(self, path: str) -> str:
        """Path of a file of the library that is not code."""
        return str(self.root / "workflow" / path)

    def report_assets(self) -> list[str]:
        """Template, style and script of the report."""
        names = ("report.html.jinja", "report.css", "report.js")
        return [self.asset(f"gradbrain/figures/report/{name}") for name in names]

    def report_maps(self) -> list[str]:
        """Maps for the surface of the report: of studies that show the cortex in a figure, too."""
        return self.per_model("maps") if "cortical_map" in self.figures else []

    def captions(self) -> list[str]:
        """Captions of the study's figures; those of the library as other code is named."""
        return [
            self.asset(figure.caption.relative_to(LIBRARY).as_posix())
            if figure.caption.is_relative_to(LIBRARY)
            else str(figure.caption)
            for figure in self.figures.values()
        ]

    def resolved_config(self) -> str:
        """All settings of the study as JSON, without what belongs to one machine or one run."""
        # Models that were asked for by a pattern have a choice of their own by now.
        asked = {"__all__": {"pattern", "file", "leave_out", "untrained"}}
        return self.study.settings.model_dump_json(
            exclude={
                **dict.fromkeys(("roots", "only_models", "only_subjects", "only_layers"), True),
                "models": asked,
            }
        )

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

    @property
    def model_contrasts(self) -> list[str]:
        """Table of contrasts, where the study has models that differ in one factor."""
        return [self.path("model_contrasts")] if self.comparisons.contrasts else []

    def compared_tables(self) -> list[str]:
        """Tables of scores that models are compared by."""
        return [
            *self.per_model("scores"),
            *(path for model in self.models for path in self.rsa(model)),
            *(self.per_model("prediction_rsa") if self.second_opinions else ()),
        ]

    def comparison_options(self) -> str:
        """Folders of those tables, and what sets models apart, as options of the command line.

        Folders, since a command that names every table of hundreds of models is too long to run.
        """
        folders = {
            "scores": Path(self.path("scores")).parent,
            "rsa": Path(self.path("rsa")).parents[1],
        }
        if self.second_opinions:
            folders["prediction-rsa"] = Path(self.path("prediction_rsa")).parent
        words = [word for name, path in folders.items() for word in (f"--{name}", str(path))]
        records = [facts.as_record() for facts in self.model_facts]
        return shlex.join([*words, "--factors", json.dumps(records, separators=(",", ":"))])

    def entries(self) -> str:
        """Entries that the study names, as readers see them, as JSON: rows of ``entries.csv``."""
        trained = {model: model not in self.untrained for model in self.study.models}
        return json.dumps(entry_records(self.study, trained), ensure_ascii=False)

    def baseline_settings(self) -> str:
        """Settings that the reduction of all layers' activations depends on, as JSON."""
        return self.study.settings.encoding.model_dump_json(include=set(BASELINE_SETTINGS))

    def unique_settings(self) -> str:
        """Settings that the unique variance of signals depends on, as JSON."""
        return self.study.settings.encoding.model_dump_json(include=set(UNIQUE_SETTINGS))

    def rule_pair_settings(self) -> str:
        """Settings that the unique part beside another signal depends on, as JSON."""
        return self.study.settings.encoding.model_dump_json(include=set(RULE_PAIR_SETTINGS))

    def prediction_settings(self) -> str:
        """Settings that dissimilarities of predictions depend on, as JSON."""
        return self.study.settings.rsa.model_dump_json(include=set(PREDICTION_SETTINGS))

    def measurement_settings(self) -> str:
        """Settings that the measurement of reliability depends on, as JSON; thresholds do not."""
        return self.study.settings.reliability.model_dump_json(include=set(MEASUREMENT_SETTINGS))

    def thresholds(self) -> str:
        """Reliabilities below which signals are not judged, as JSON."""
        settings = self.study.settings.reliability
        return settings.model_dump_json(exclude=set(MEASUREMENT_SETTINGS))

    def stimuli_by_subject(self) -> str:
        """Stimulus set of every selected subject, as JSON."""
        viewed = {name: self.study.seen_by(name) for name in self.subjects}
        return json.dumps(viewed)

    def ceiling_settings(self) -> str:
        """Settings that the ceilings between subjects depend on, as JSON."""
        return self.study.settings.encoding.model_dump_json(include=set(CEILING_SETTINGS))

    def signal_plugins(self, signal_set: str) -> list[Plugin]:
        """Rules and objectives that the signals of a set use, those inside others included."""
        if signal_set not in self._plugins_of_set:
            self._plugins_of_set[signal_set] = self._find_signal_plugins(signal_set)
        return self._plugins_of_set[signal_set]

    def _find_signal_plugins(self, signal_set: str) -> list[Plugin]:
        signals = self.signal_set(signal_set).signals
        found = (plugin for signal in signals for plugin in signal_plugins(signal, self.plugins))
        return sorted(dict.fromkeys(found), key=lambda plugin: (plugin.kind, plugin.name))

    def activation_plugins(self, signal_set: str) -> list[Plugin]:
        """Plug-ins that the activation of a set names, which its identity is read with."""
        (activation,) = self.signal_set(signal_set).of_activation().signals
        return list(signal_plugins(activation, self.plugins))

    def extraction_plugins(self, model: str, signal_set: str) -> list[Plugin]:
        """Plug-ins that an extraction job uses: rules, objectives, the source of weights."""
        key = (model, signal_set)
        if key not in self._plugins_of_extraction:
            found = [*self.signal_plugins(signal_set), self._weights(model)[0]]
            self._plugins_of_extraction[key] = found
        return self._plugins_of_extraction[key]

    def targets_plugins(self, model: str, signal_set: str) -> list[Plugin]:
        """Plug-ins that a job of targets uses: objectives that look at views, and weights.

        It reads the options of all signals of the set, and so the files of all that are not the
        library's.
        """
        uses = viewing_objectives(self.signal_set(signal_set).signals, self.plugins)
        foreign = (one for one in self.signal_plugins(signal_set) if not one.in_library)
        found = [plugin for use in uses for plugin in use.plugins]
        return list(dict.fromkeys([*found, *foreign, self._weights(model)[0]]))

    def reliability_code(self, model: str) -> list[str]:
        """Modules that a measurement of reliability uses: the plug-ins of its signals."""
        plugins = self.extraction_plugins(model, self.study.signal_set.name)
        return self.code("measure_reliability", *plugins)

    def extraction_code(self, model: str, signal_set: str) -> list[str]:
        """Modules that an extraction job uses: its plug-ins, no others."""
        return self.code("extract_features", *self.extraction_plugins(model, signal_set))

    def extraction_entry(self, model: str, signal_set: str) -> str:
        """Entry of a model as JSON, without words and what no signal of the set reads."""
        unused = () if "text_tower" in self.needs(signal_set) else ("text_tower",)
        return self.as_json(
            self.model_entry(model), without=("label", "colour", "factors", *unused)
        )

    def signal_set_json(self, signal_set: str) -> str:
        """Signal set as JSON, without labels, colours and who controls whom."""
        return json.dumps(self.signal_set(signal_set).without_words())

    def signal_entry(self, signal: str) -> str:
        """Entry of a signal with a fitted model as JSON, without words."""
        return self.as_json(self._fitted_signal(signal), without=("label", "colour", "control_of"))

    def activation_set_json(self, signal_set: str) -> str:
        """Activation of a signal set as JSON, as image statistics take it."""
        return json.dumps(self.signal_set(signal_set).of_activation().without_words())

    def judged_signals(self, model: str) -> str:
        """Signals of a model as JSON, with who controls whom and without labels and colours."""
        said = {"signals": {"__all__": {"label", "colour"}}}
        return self.taken_set(model, self.study.signal_set.name).model_dump_json(exclude=said)

    def _fitted_signal(self, name: str) -> SignalEntry:
        sets = dict.fromkeys(signal_set for _, signal_set, _, _ in self.all_features())
        for signal_set in sets:
            for signal in self.fitted_signals(signal_set):
                if signal.name == name:
                    return signal
        raise GradbrainError(
            f"{self.study.where}: no signal {name!r} with a fitted model is part of the study"
        )

    def feedback_model(self, model: str, signal: str) -> str:
        """Entry of a model as JSON, as the fit of a signal's model reads it."""
        needs = signal_needs(self._fitted_signal(signal), self.plugins)
        unused = () if "text_tower" in needs else ("text_tower",)
        return self.as_json(
            self.model_entry(model), without=("label", "colour", "factors", *unused)
        )

    def feedback_plugins(self, model: str, signal: str) -> list[Plugin]:
        """Plug-ins that the fit of a rule's model uses."""
        own = signal_plugins(self._fitted_signal(signal), self.plugins)
        return [*own, self._weights(model)[0]]

    def response_entry(self, subject: str) -> str:
        """Entry of a subject's data set as JSON; other subjects are no part of its responses."""
        return self._entry_json(self.study.subjects[subject], (subject,))

    def stimuli_entry(self, stimuli: str) -> str:
        """Entry of a stimulus set's data set as JSON, with all subjects who saw its images."""
        entry = self.stimuli[stimuli]
        return self._entry_json(entry, self._viewers(stimuli))

    def responses_determined_by(self, subject: str) -> str:
        """Those parts of :meth:`response_entry` that the responses follow from, as JSON.

        Options are validated ones, so that a default that is written out changes nothing.
        """
        entry = self.study.subjects[subject]
        _, options = self.adapter(entry)
        parts = {"subjects": (subject,), "options": options.model_dump(mode="json")}
        whole = json.loads(
            self.as_json(
                entry.model_copy(update=parts),
                without=("fetch", "expected", "licence", "citation", "label"),
            )
        )
        # What readers call a modality is no part of its responses.
        whole["modality"].pop("label")
        return json.dumps(whole)

    def stimuli_determined_by(self, stimuli: str) -> str:
        """Those parts of :meth:`stimuli_entry` that the images follow from, as JSON."""
        entry = self.stimuli[stimuli]
        module, options = self.adapter(entry)
        parts = {
            "name": entry.name,
            "adapter": entry.adapter,
            "stimuli": entry.stimuli,
            "subjects": self._viewers(stimuli),
            "options": module.of_images(options).model_dump(mode="json"),
        }
        return json.dumps(parts)

    def _viewers(self, stimuli: str) -> tuple[str, ...]:
        """Subjects who saw the images of a stimulus set."""
        entry = self.stimuli[stimuli]
        return entry.subjects if entry.stimuli else (stimuli,)

    def _entry_json(self, entry: DatasetEntry, subjects: tuple[str, ...]) -> str:
        narrowed = entry.model_copy(update={"subjects": subjects})
        return self.as_json(narrowed, without=("fetch", "expected"))

    @staticmethod
    def as_json(settings: StrictModel, *, without: tuple[str, ...] = ()) -> str:
        """Settings as one command-line argument, without the keys that a job does not consume."""
        return settings.model_dump_json(exclude=set(without))

    # --- figures -----------------------------------------------------------------------------

    @cached_property
    def figures(self) -> dict[str, Declaration]:
        """Figures of the study: those asked for, or all that apply to what it holds."""
        wanted, known = self.study.settings.figures.names, self.plugins.names("figures")
        # All of them, so that one that could not be drawn is refused where nobody asks for it yet.
        declared = {name: declaration(name, self.plugins) for name in known}
        if wanted != "all":
            where = f"{self.study.source('figures', 'names')}: figures.names"
            for name in wanted:
                choose(name, known, what="figure", where=where)
                if PREDICTION_RSA & set(declared[name].inputs) and not self.second_opinions:
                    raise GradbrainError(
                        f"{where}: figure {name!r} shows dissimilarities of held-out predictions, "
                        "which this study does not compare; add them (rsa: {encoding: true}) or "
                        "leave the figure out"
                    )
                if "alikeness" in declared[name].inputs and not self.alikenesses:
                    raise GradbrainError(
                        f"{where}: figure {name!r} compares learning signals of several rules, and "
                        f"the signal set {self.study.signal_set.name!r} has those of one; leave "
                        "the figure out"
                    )
                if "rule_pairs" in declared[name].inputs and not self.rule_pairs:
                    raise GradbrainError(
                        f"{where}: figure {name!r} shows what signals explain beside one another, "
                        "which this study does not estimate; name signals in encoding.rule_pairs "
                        "or leave the figure out"
                    )
                if "model_contrasts" in declared[name].inputs and not self.model_contrasts:
                    raise GradbrainError(
                        f"{where}: figure {name!r} compares models that differ in one factor, and "
                        "this study has none; add some, say which by the key contrasts, or leave "
                        "the figure out"
                    )
                if "training" in declared[name].inputs and not self.trainings:
                    raise GradbrainError(
                        f"{where}: figure {name!r} shows how networks learnt, and this study "
                        "trains none; take models with weights: {source: testbed, …} or leave the "
                        "figure out"
                    )
                if "fusion" in declared[name].inputs and not self.fused_datasets:
                    raise GradbrainError(
                        f"{where}: figure {name!r} shows the fusion of space and time, which this "
                        "study does not compute; add it (rsa: {fusion: true}) or leave the figure "
                        "out"
                    )
            return {name: declared[name] for name in wanted}
        spaces = [(entry.axis, self.space(entry)) for entry in self.study.datasets.values()]
        return {
            name: figure
            for name, figure in declared.items()
            if any(figure.applies_to(axis, space) for axis, space in spaces)
            and (self.multiverse.universes or not MULTIVERSE & set(figure.inputs))
            and ("reliability" not in figure.inputs or self.reliabilities)
            and ("training" not in figure.inputs or self.trainings)
            and ("alikeness" not in figure.inputs or self.alikenesses)
            and ("rule_pairs" not in figure.inputs or self.rule_pairs)
            and (self.second_opinions or not PREDICTION_RSA & set(figure.inputs))
            and ("fusion" not in figure.inputs or self.fused_datasets)
            and ("model_contrasts" not in figure.inputs or self.model_contrasts)
        }

    def figure_plugins(self, *names: str) -> list[Plugin]:
        """Modules of some figures; of all of the study where none is named."""
        return [
            self.plugins.find("figures", name, where="figures.names")
            for name in names or self.figures
        ]

    def space(self, entry: DatasetEntry) -> str:
        """Space that the responses of a data set live in, e.g. ``fsaverage5``."""
        module, options = self.adapter(entry)
        return str(module.space(entry, options))

    def figure_inputs(self, name: str) -> dict[str, list[str]]:
        """Results that a figure is drawn from, by command-line option."""
        every = {
            **{
                kind: self.per_model(kind)
                for kind in ("scores", "hierarchy", "hierarchy_draws", "time_courses", "maps")
            },
            "prediction_rsa": self.per_model("prediction_rsa"),
            "fusion": self.per_model("fusion"),
            "second_opinions": self.second_opinions,
            "rsa": [path for model in self.models for path in self.rsa(model)],
            "claims": [self.path("claims")],
            **{kind: [self.path(kind)] for kind in MULTIVERSE},
            "reliability": self.reliabilities,
            "training": self.trainings,
            "alikeness": self.alikenesses,
            "rule_pairs": self.rule_pairs,
            "model_contrasts": self.model_contrasts,
        }
        return {kind: every[kind] for kind in self.figures[name].reads}

    def figure_options(self, name: str) -> str:
        """Those results as options of the command line, as the shell spells many alike paths.

        Linux refuses a single argument of 128 KiB, and the shell gets a whole command as one:
        similarity tables of hundreds of models and some people are more than that by name.
        """
        every = {"model": self.models, "subject": self.subjects}
        words = []
        for kind, paths in self.figure_inputs(name).items():
            # A figure may do without what the study does not make.
            if not paths:
                continue
            keys = [key for key in artefact(kind).keys if key != "study"]
            spelled = shlex.join(paths)
            if len(paths) > 1 and set(keys) <= set(every):
                chosen = itertools.product(*(every[key] for key in keys))
                all_of_them = [
                    self.path(kind, **dict(zip(keys, names, strict=True))) for names in chosen
                ]
                if paths == all_of_them:
                    spelled = self.path(kind, **{key: _either(every[key]) for key in keys})
            words.append(f"--{kind.replace('_', '-')} {spelled}")
        return " ".join(words)

    # --- targets -----------------------------------------------------------------------------

    def whole_study(self, *paths: str) -> list[str]:
        """Targets that speak of the whole study; a subset of it may not make them.

        Raises
        ------
        GradbrainError
            When a job is asked for them though models, subjects or layers are restricted.
        """
        settings = self.study.settings
        if not self.study.is_subset:
            return list(paths)
        keys = [
            key for key in ("only_models", "only_subjects", "only_layers") if getattr(settings, key)
        ]
        raise GradbrainError(
            f"{self.study.source(keys[0])}: {', '.join(keys)}: claims, figures and the report "
            "speak of the whole study and are not made from a part of it. Leave out the key, or "
            "ask for `encoding`, `features` or nothing in particular"
        )

    def all_subjects(self, *paths: str) -> list[str]:
        """Inputs of what speaks of all subjects of a data set.

        Raises
        ------
        GradbrainError
            When a job is asked for it though subjects are restricted.
        """
        if not self.study.settings.only_subjects:
            return list(paths)
        raise GradbrainError(
            f"{self.study.source('only_subjects')}: only_subjects: ceilings between subjects "
            "speak of all subjects of a data set and are not made from some of them. Leave out the "
            "key, or ask for `encoding`"
        )

    def whole_model(self, *paths: str) -> list[str]:
        """Targets that speak of all layers and subjects of a model.

        Raises
        ------
        GradbrainError
            When a job is asked for them though subjects or layers are restricted.
        """
        settings = self.study.settings
        keys = [key for key in ("only_subjects", "only_layers") if getattr(settings, key)]
        if not keys:
            return list(paths)
        raise GradbrainError(
            f"{self.study.source(keys[0])}: {', '.join(keys)}: scores, maps and hierarchy hold all "
            "subjects and layers of a model and are not made from a part of them. Leave out the "
            "key, or ask for `encoding`"
        )

    def feature_targets(self) -> list[str]:
        """Feature stores of the selected models, subjects and layers."""
        return [
            self.features(model, layer, self.study.signal_set.name, stimuli)
            for model in self.models
            for layer in self._selected_layers(model)
            for stimuli in self.viewed_stimuli()
        ]

    def encoding_targets(self) -> list[str]:
        """Encoding stores and tables of the selected models, subjects and layers."""
        return [
            path
            for model in self.models
            for kind in ("encoding", "fit_scores")
            for path in self.encoding(model, kind=kind, layers=self._selected_layers(model))
        ]

    def _selected_layers(self, model: str) -> list[str]:
        only = self.study.settings.only_layers
        return [layer for layer in self.layers(model) if self._wanted(layer, only)]

    def model_targets(self) -> list[str]:
        """Everything that belongs to one model.

        The fits are named though other results need them: Snakemake does not miss a lost file
        that stands between two files that are there.
        """
        return [
            *self.encoding_targets(),
            *self.reliabilities,
            *self.rule_pairs,
            *self.per_model("scores"),
            *self.per_model("maps"),
            *self.per_model("hierarchy"),
            *self.per_model("hierarchy_draws"),
            *(path for model in self.models for path in self.rsa(model)),
            *(self.per_model("fusion") if self.fused_datasets else ()),
            *(
                path
                for kind in ("rdm_hierarchy", "rdm_hierarchy_draws")
                if self.second_opinions
                for path in self.per_model(kind)
            ),
        ]

    def targets(self) -> list[str]:
        """What `all` makes: the report, or for a subset only what belongs to it."""
        settings = self.study.settings
        if settings.only_subjects or settings.only_layers:
            return self.encoding_targets()
        if settings.only_models:
            return self.model_targets()
        return [self.path("report"), *self.model_contrasts, *self.model_targets()]

    def figure_targets(self) -> list[str]:
        """Files of all figures."""
        return [
            self.path("figure", figure=name, ending=ending)
            for name in self.figures
            for ending in ("pdf", "png", "csv")
        ]

    def check_result(self, path: str) -> None:
        """Refuse the path of a result that names what is no part of the study.

        Paths that are those of no kind of result pass.

        Raises
        ------
        GradbrainError
            Names what is unknown and what is near.
        """
        faults = []
        for kind in ARTEFACTS:
            try:
                keys = self.keys_of(kind, path)
                self._check_keys(keys, path)
            except GradbrainError as error:
                faults.append(error)
            except ValueError:
                continue
            else:
                return
        if faults:
            raise faults[0]

    def _check_keys(self, keys: Mapping[str, str], where: str) -> None:
        registries = self.study.registries
        known: dict[str, tuple[str, Iterable[str]]] = {
            "study": ("study here", [self.study.name]),
            "model": ("model", self.study.models if "study" in keys else registries.models),
            "subject": ("subject of the study", self.study.subjects),
            "dataset": ("data set of the study", self.study.datasets),
            "stimuli": ("stimulus set", [*self.stimuli, *self.study.chosen_stimuli]),
            "calibration": ("stimulus set", self.stimuli),
            "signal_set": ("signal set", [*registries.signal_sets, *self.multiverse.signal_sets]),
            "figure": ("figure of the study", self.figures),
            "ending": ("format of figures", ("pdf", "png", "csv")),
            "fit": ("fit of the multiverse", self.multiverse.fits),
            "universe": ("universe", self.multiverse.by_name),
        }
        for key, name in keys.items():
            if key in known:
                what, names = known[key]
                choose(name, names, what=what, where=where)
        if {"model", "layer"} <= set(keys):
            rows = registries.layers(self.model_entry(keys["model"]).architecture, where=where)
            names = [*(row.name for row in rows), ALL_LEVELS]
            choose(keys["layer"], names, what=f"layer of {keys['model']}", where=where)

    def results_by_path(self) -> list[str]:
        """Paths of results that a user may ask for by name."""
        return [
            *self.figure_targets(),
            *(self.path(kind) for kind in ("claims", "claims_page", "report", "config", "entries")),
            *self.model_contrasts,
            *(path for kind in ("scores", "maps", "hierarchy") for path in self.per_model(kind)),
            *self.feature_targets(),
            *self.encoding_targets(),
        ]

    # --- checks before any job ---------------------------------------------------------------

    def check_paths(self) -> None:
        """Refuse folders and files whose names Snakemake would take for patterns.

        Raises
        ------
        GradbrainError
            A path that becomes an input has braces.
        """
        paths = [("the folder of the code", str(self.root))]
        where = f"{self.study.source('plugins')}: plugins"
        paths += [(where, path) for path in self.study.settings.plugins]
        paths += [(f"{self.study.source('images')}: images", path) for path in self.image_list]
        files = [path for name in self.stimuli_with_folds for path in self.fold_file(name)]
        paths += [(f"{self.study.source('folds')}: folds", path) for path in files]
        for where, path in paths:
            if "{" in path or "}" in path:
                raise GradbrainError(
                    f"{where}: {path} has braces in its name, which Snakemake takes for wildcards; "
                    "rename it"
                )

    def check_roots(self) -> None:
        """Refuse roots of what does not exist, before a link is made for them.

        Raises
        ------
        GradbrainError
            A key of ``roots`` is no data set and no folder of checkpoints.
        """
        checkpoints = [path for model in self.study.models for path in self.weights(model)]
        allowed = {"weights", *self.study.registries.datasets}
        allowed |= {Path(path).parts[1] for path in checkpoints}
        for name in self.study.settings.roots:
            where = f"{self.study.source('roots', name)}: roots"
            choose(name, sorted(allowed), what="data set or folder of weights", where=where)

    def link_roots(self) -> list[Path]:
        """Link ``data/<name>`` to each configured root; return the links that are new or changed.

        Raises
        ------
        GradbrainError
            A root is not a folder, or ``data/<name>`` is a folder of its own.
        """
        links = (
            link_root(name, root, Path(DATA), self.study.source("roots", name))
            for name, root in self.study.settings.roots.items()
        )
        return [link for link in links if link is not None]

    def check(self, *, packages: bool = True) -> None:
        """Find what is missing or has changed before any job starts.

        Parameters
        ----------
        packages
            Whether packages that carry weights are looked for, which tells something where jobs
            run in the environment of this interpreter.

        Raises
        ------
        GradbrainError
            One message that lists every problem.
        """
        # First: weights and features of what a band names are looked up below.
        SignalChecks(self, Path(DATA)).nuisance()
        self.check_paths()
        problems = []
        for entry in self.study.datasets.values():
            module, options = self.adapter(entry)
            link = Path(DATA) / entry.name
            if link.is_symlink() and not link.exists():
                problems.append(
                    f"data set {entry.name!r}: {link} is a link to a folder that is not there; "
                    f'name its place: --config "roots={{{entry.name}: /path/to/it}}"'
                )
                continue
            # People whom the study leaves out may be missing from this machine.
            chosen = tuple(name for name in entry.subjects if name in self.subjects)
            some = entry.model_copy(update={"subjects": chosen})
            problems += module.check(some, options, Path(DATA) / entry.name)
            problems += self._lost_data(some)
        for model in dict.fromkeys(model for model, _, _, _ in self.all_features()):
            problems += self._missing_weights(model, packages=packages)
        options = {name: self.adapter(entry)[1] for name, entry in self.study.datasets.items()}
        problems += self._fold_problems()
        problems += absurd_sizes(self.study, options, self.plugins)
        kept = self._kept_features()
        problems += [*self._changed_definitions(kept), *self._other_precisions(kept)]
        self.check_signals()
        _ = self.figures
        _ = self.comparisons
        if problems:
            raise GradbrainError("\n".join([f"{self.study.where}: cannot run:", *problems]))

    def check_checkpoints(self) -> None:
        """Hold the checkpoints that lie here against their networks.

        Raises
        ------
        GradbrainError
            Names and shapes of one are not those of its network.
        """
        files = {
            model: [path for path in self.weights(model) if Path(path).is_file()]
            for model in self.networks
        }
        here = [model for model, paths in files.items() if paths]
        sources = [self._weights(model)[0] for model in here]
        problems = wrong_checkpoints(
            {model: self.as_json(self.model_entry(model)) for model in here},
            files,
            script=self.script("check_checkpoints"),
            data=DATA,
            plugins=self.plugin_files(*sources),
        )
        if problems:
            raise GradbrainError("\n".join([f"{self.study.where}: cannot run:", *problems]))

    def notices(self) -> list[str]:
        """Say what no claim will be able to say; a part of a study makes none anyway."""
        if self.study.is_subset:
            return []
        options = {name: self.adapter(entry)[1] for name, entry in self.study.datasets.items()}
        return notices(self.study, options, self.untrained, self.comparisons)

    def _missing_weights(self, model: str, *, packages: bool) -> list[str]:
        """Say what the weights of a model lack: files below ``data/``, packages."""
        where = f"{self.study.registries.place('model', model)}: weights"
        problems = [
            f"{where}: there is {'a folder' if Path(path).is_dir() else 'no file'} {path}. "
            f"Place the file there, or name its folder: --config "
            f'"roots={{{Path(path).parts[1]}: /path/to/folder}}"'
            for path in self.weights(model)
            if not Path(path).is_file()
        ]
        if packages:
            entry = self.model_entry(model)
            missing = self.weights_options(model).missing_packages(entry)
            problems += [f"{where}: {sentence}" for sentence in missing]
        return problems

    def _lost_data(self, entry: DatasetEntry) -> list[str]:
        """Say how to fetch a data set again that was removed before all was made from it.

        A data set that arrives by itself comes with its stimulus table; where the table is there
        already, no job fetches it.
        """
        folder = Path(DATA) / entry.name
        if not entry.arrives_by_itself or folder.exists():
            return []
        for subject in entry.subjects:
            stimuli = entry.stimuli_of(subject)
            comes = self.stimuli[stimuli].name == entry.name
            if comes and not Path(self.path("stimuli", stimuli=stimuli)).exists():
                continue
            wanted = [self.path("responses", subject=subject)]
            wanted += [
                self.features(model, layer, signal_set, stimuli)
                for model, signal_set, layer, name in self.all_features()
                if name == stimuli
            ]
            for path in wanted:
                if not Path(path).exists():
                    return [
                        f"data set {entry.name!r}: the folder {folder} is missing and {path} is "
                        "still to be made; fetch it with: python scripts/fetch_dataset.py "
                        f"{entry.name} --registry {self._registry_of(entry)}"
                    ]
        return []

    def check_signals(self) -> None:
        """Refuse signals whose rule, objective, options, calibration or captions do not exist.

        Raises
        ------
        GradbrainError
            The entry, the key and what may stand there.
        """
        SignalChecks(self, Path(DATA)).run()

    def _kept_features(self) -> list[KeptFeatures]:
        """Feature stores of the study that are there already."""
        stores = [
            (model, self.study.signal_set.name, layer, stimuli)
            for model in self.models
            for layer in self.layers(model)
            for stimuli in map(self.study.seen_by, self.study.subjects)
        ]
        found = (
            (model, name, read_definition(self.features(model, layer, name, stimuli)))
            for model, name, layer, stimuli in dict.fromkeys([*stores, *self.all_features()])
        )
        return [row for row in found if "definition" in row[2]]

    def _changed_definitions(self, kept: list[KeptFeatures]) -> list[str]:
        expected: dict[tuple[str, str], str] = {}
        changed = []
        for model, signal_set, attributes in kept:
            key = (model, signal_set)
            if key not in expected:
                expected[key] = feature_definition(
                    self.model_entry(model), self.taken_set(model, signal_set), self.plugins
                )
            if attributes["definition"] != expected[key]:
                changed.append(key)
        return [
            f"the definition of model {model!r} or of signal set {signal_set!r} differs from that "
            f"which its features in {RESULTS}/features/{model}/*/{signal_set}/ were made with. "
            "Features are named by their entries: give the changed entry a new name, or remove "
            "the old features with: rm -r "
            f"{RESULTS}/features/{model}/*/{signal_set}"
            for model, signal_set in dict.fromkeys(changed)
        ]

    def _other_precisions(self, kept: list[KeptFeatures]) -> list[str]:
        """Studies share features: with a precision each, every run would remake the other's."""
        wanted = self.study.settings.features.precision
        found = [
            (model, signal_set, attributes.get("precision", wanted))
            for model, signal_set, attributes in kept
        ]
        return [
            f"features.precision is {wanted!r}, but {RESULTS}/features/{model}/*/{signal_set}/ was "
            f"made with {precision!r}, and studies share features: set features.precision to "
            f"{precision!r}, use a signal set of another name, or, if no other study needs them, "
            f"remove the old features with: rm -r {RESULTS}/features/{model}/*/{signal_set}"
            for model, signal_set, precision in dict.fromkeys(found)
            if precision != wanted
        ]
