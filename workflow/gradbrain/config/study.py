"""A study, read once, with every name looked up in the registries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gradbrain.config.errors import GradbrainError
from gradbrain.config.faults import faults_of
from gradbrain.config.model_choices import expand
from gradbrain.config.plugins import Plugins
from gradbrain.config.registries import Layer, Registries
from gradbrain.config.schema import (
    MAX_NAME,
    DatasetEntry,
    LayerCount,
    ModelChoice,
    ModelEntry,
    SignalSet,
    Study,
)
from gradbrain.config.suggestions import choose
from gradbrain.config.untrained_twins import with_twins
from gradbrain.config.yaml_files import check_keys, is_folder
from gradbrain.vocabulary.artefacts import ARTEFACTS

# Folders of results/ that all studies share: those of artefacts whose path names no study.
RESERVED_NAMES = tuple(
    sorted({item.template.split("/")[1] for item in ARTEFACTS.values() if "study" not in item.keys})
)
#: Value of the key ``images``: those that all people saw.
SHARED = "shared"
# Relative depths of the 22 layers of Raugel et al. 2025 (arXiv:2508.18226).
PREDECESSOR_DEPTHS = (0.01, *(round(0.05 * step, 2) for step in range(1, 20)), 0.99, 1.0)


def layers_by_count(layers: list[Layer], count: int) -> list[Layer]:
    """Take `count` layers, those nearest to evenly spread depths; 22 takes the predecessor's.

    No layer is taken twice: where two depths share their nearest layer, the choice with the
    smallest sum of distances in depth is taken (*ours*). A model that has fewer layers gives all.
    """
    if count == len(PREDECESSOR_DEPTHS):
        wanted: tuple[float, ...] = PREDECESSOR_DEPTHS
    else:
        wanted = tuple((step + 1) / count for step in range(count))
    if len(layers) <= count:
        return list(layers)
    return [layers[index] for index in _nearest_in_order([row.depth for row in layers], wanted)]


def _nearest_in_order(depths: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """Match each wanted depth with a depth of its own, in order, at the smallest total distance."""
    # best[j]: cost and indices of the best match of the first j wanted depths so far.
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ()), *((math.inf, ()) for _ in wanted)]
    for index, depth in enumerate(depths):
        for j in range(len(wanted), 0, -1):
            cost = best[j - 1][0] + abs(depth - wanted[j - 1])
            if cost < best[j][0]:
                best[j] = (cost, (*best[j - 1][1], index))
    return best[-1][1]


@dataclass(frozen=True)
class ResolvedStudy:
    """A study with its registry entries.

    Attributes
    ----------
    settings
        The config as given.
    registries
        Where names are looked up.
    where
        The config file, for error messages.
    overrides
        What ``--config`` gave, for error messages.
    """

    settings: Study
    registries: Registries
    where: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.settings.study

    def source(self, *keys: str) -> str:
        """File, or option of the command line, that the value under some keys came from."""
        return _source(keys, self.where, self.overrides)

    @cached_property
    def signal_set(self) -> SignalSet:
        """The signal set that the study analyses."""
        return self.registries.signal_set(
            self.settings.features.signal_set,
            where=f"{self.source('features', 'signal_set')}: features.signal_set",
        )

    @cached_property
    def signal_sets(self) -> dict[str, SignalSet]:
        """Model -> the signal set that is taken from it: its own, or that of the study.

        Raises
        ------
        GradbrainError
            Its own is no part of that of the study, or takes signals in another way.
        """
        return {choice.name: self._set_of(choice) for choice in self.settings.models}

    def _set_of(self, choice: ModelChoice) -> SignalSet:
        if choice.signal_set is None:
            return self.signal_set
        where = f"{self.source('models')}: models.{choice.name}.signal_set"
        own, whole = self.registries.signal_set(choice.signal_set, where=where), self.signal_set
        for signal in own.signals:
            if signal not in whole.signals:
                raise GradbrainError(
                    f"{where}: {own.name!r} has the signal {signal.name!r}, which is none of "
                    f"features.signal_set {whole.name!r}; a model takes some of the study's signals"
                )
        said = ("pooling", "projection", "normalise", "calibration", "seed")
        for key in said:
            if getattr(own, key) != getattr(whole, key):
                raise GradbrainError(
                    f"{where}: {own.name!r} has another {key} than features.signal_set "
                    f"{whole.name!r}; models of a study are compared, and take signals alike"
                )
        if own != whole and self.settings.sensitivity is not None:
            raise GradbrainError(
                f"{where}: a study with `sensitivity` varies the signals of all its models, and "
                "takes the same from each; leave the key out"
            )
        return own

    @cached_property
    def models(self) -> dict[str, ModelEntry]:
        """Models of the study, in the order of the config."""
        models: dict[str, ModelEntry] = {}
        where = f"{self.source('models')}: models"
        for choice in self.settings.models:
            if choice.name in models:
                raise GradbrainError(f"{where}: model {choice.name!r} is listed twice")
            models[choice.name] = self.registries.model(choice.name, where=where)
        return models

    @cached_property
    def datasets(self) -> dict[str, DatasetEntry]:
        """Data sets of the study, in the order of the config."""
        datasets: dict[str, DatasetEntry] = {}
        where = f"{self.source('datasets')}: datasets"
        for choice in self.settings.datasets:
            if choice.name in datasets:
                raise GradbrainError(f"{where}: data set {choice.name!r} is listed twice")
            entry = self.registries.dataset(choice.name, where=where)
            if entry.modality is None:
                raise GradbrainError(f"{where}: {choice.name!r} holds images but no responses")
            datasets[choice.name] = entry
        return datasets

    @cached_property
    def subjects(self) -> dict[str, DatasetEntry]:
        """Subject -> its data set, in order."""
        subjects: dict[str, DatasetEntry] = {}
        source = self.source("datasets")
        for choice in self.settings.datasets:
            entry = self.datasets[choice.name]
            names = entry.subjects if choice.subjects == "all" else choice.subjects
            for name in names:
                where = f"{source}: datasets.{choice.name}.subjects"
                choose(name, entry.subjects, what=f"subject of {entry.name}", where=where)
                if name in subjects:
                    raise GradbrainError(f"{where}: subject {name!r} is listed twice")
                subjects[name] = entry
        return subjects

    @cached_property
    def stimuli(self) -> dict[str, DatasetEntry]:
        """Stimulus set -> the data set that it belongs to.

        An entry that holds images only comes first: several data sets may show its images, and
        what they say of their responses is no part of the stimuli.
        """
        sets = {entry.stimuli_of(subject): entry for subject, entry in self.subjects.items()}
        for name in self.registries.datasets:
            entry = self.registries.dataset(name, where="datasets.yaml")
            if entry.modality is None and entry.stimuli is not None:
                sets[entry.stimuli] = entry
        return sets

    @cached_property
    def chosen_stimuli(self) -> dict[str, tuple[str, ...]]:
        """Stimulus set that the key ``images`` makes -> those that its images are chosen from.

        Of shared images there is one, called as the study; of named images one for each set.
        """
        if self.settings.images is None:
            return {}
        whole = tuple(dict.fromkeys(e.stimuli_of(name) for name, e in self.subjects.items()))
        if self.settings.images == SHARED:
            return {self.name: whole}
        return {f"{self.name}-{name}": (name,) for name in whole}

    def seen_by(self, subject: str) -> str:
        """Stimulus set of a subject, as far as the study takes it."""
        whole = self.subjects[subject].stimuli_of(subject)
        return next(
            (name for name, sources in self.chosen_stimuli.items() if whole in sources), whole
        )

    def viewers_of(self, stimuli: str) -> list[str]:
        """Subjects whose fits are of a stimulus set; none of one for calibration alone."""
        return [name for name in self.subjects if self.seen_by(name) == stimuli]

    def folds_of(self, stimuli: str) -> str | None:
        """What the key ``folds`` says of a stimulus set: a file or a split; None: nothing.

        Raises
        ------
        GradbrainError
            Data sets that share the images have different folds.
        """
        given = self.settings.folds
        if given is None or isinstance(given, str):
            return given if self.viewers_of(stimuli) else None
        datasets = dict.fromkeys(self.subjects[name].name for name in self.viewers_of(stimuli))
        found = {given.get(name) for name in datasets}
        if len(found) > 1:
            said = ", ".join(f"{name}: {given.get(name, 'none')}" for name in datasets)
            raise GradbrainError(
                f"{self.source('folds')}: folds: data sets that share the images {stimuli!r} must "
                f"have the same folds, found {{{said}}}"
            )
        return next(iter(found), None)

    @cached_property
    def layers(self) -> dict[str, list[Layer]]:
        """Model -> the layers taken from it, in order of depth."""
        return {
            choice.name: self._layers_of(
                choice, f"{self.source('models')}: models.{choice.name}.layers"
            )
            for choice in self.settings.models
        }

    def _layers_of(self, choice: ModelChoice, where: str) -> list[Layer]:
        layers = self.registries.layers(self.models[choice.name].architecture, where=where)
        if choice.layers == "all":
            return layers
        if isinstance(choice.layers, LayerCount):
            return layers_by_count(layers, choice.layers.count)
        names = [layer.name for layer in layers]
        for name in choice.layers:
            choose(name, names, what=f"layer of {choice.name}", where=where)
        return [layer for layer in layers if layer.name in choice.layers]

    def place_of_set(self, name: str) -> str:
        """Where a signal set comes from, for error messages: a registry, or a varied choice."""
        if name in self.registries.signal_sets:
            return self.registries.place("signal set", name)
        return f"{self.source('sensitivity')}: sensitivity: signal set {name!r}"

    def check_calibration(self, signal_set: SignalSet) -> None:
        """Refuse a signal set whose calibration images are no stimulus set of this study."""
        where = f"{self.place_of_set(signal_set.name)}: calibration"
        choose(signal_set.calibration, sorted(self.stimuli), what="stimulus set", where=where)

    def check(self) -> None:
        """Look up every name, so that what is wrong is said before any job starts."""
        if self.name in RESERVED_NAMES:
            raise GradbrainError(
                f"{self.source('study')}: study: {self.name!r} names a folder of results/ that all "
                f"studies share; any name but {', '.join(RESERVED_NAMES)} will do"
            )
        for signal_set in (self.signal_set, *self.signal_sets.values()):
            self.check_calibration(signal_set)
        if isinstance(self.settings.folds, Mapping):
            for name in self.settings.folds:
                where = f"{self.source('folds')}: folds"
                choose(name, list(self.datasets), what="data set of the study", where=where)
        for name in self.chosen_stimuli:
            if name in self.stimuli or len(name) > MAX_NAME:
                raise GradbrainError(
                    f"{self.source('images')}: images: what is chosen becomes the stimulus set "
                    f"{name!r}, which {'is another one' if name in self.stimuli else 'is too long'}"
                    "; give the study another name"
                )
        names = [layer.name for layers in self.layers.values() for layer in layers]
        for key, chosen, allowed in (
            ("only_models", self.settings.only_models, list(self.models)),
            ("only_subjects", self.settings.only_subjects, list(self.subjects)),
            ("only_layers", self.settings.only_layers, list(dict.fromkeys(names))),
        ):
            where = f"{self.source(key)}: {key}"
            for name in chosen:
                choose(name, allowed, what=key.removeprefix("only_")[:-1], where=where)

    @property
    def is_subset(self) -> bool:
        """Whether the targets are restricted, so that no file of the whole study is made."""
        settings = self.settings
        return bool(settings.only_models or settings.only_subjects or settings.only_layers)


def _source(keys: Sequence[str], where: str, overrides: Mapping[str, Any]) -> str:
    value: Any = overrides
    for key in keys:
        if not isinstance(value, Mapping):
            break
        if key not in value:
            return where
        value = value[key]
    return "--config"


def _read_settings(config: Mapping[str, Any], where: str, overrides: Mapping[str, Any]) -> Study:
    """Validate a config; each fault is told with the file or option that it came from."""
    check_keys(overrides, where="--config")
    check_keys(config, where=where)
    try:
        return Study.model_validate(dict(config))
    except ValidationError as error:
        by_source: dict[str, list[str]] = {}
        for keys, text in faults_of(Study, error, config):
            by_source.setdefault(_source(keys, where, overrides), []).append(text)
        told = (f"{source}: {'; '.join(texts)}" for source, texts in by_source.items())
        raise GradbrainError("\n".join(told)) from None


def load_study(
    config: Mapping[str, Any],
    *,
    root: Path,
    where: str,
    overrides: Mapping[str, Any] | None = None,
) -> ResolvedStudy:
    """Validate a config mapping and look up all that it names.

    Parameters
    ----------
    config
        The mapping as Snakemake gives it.
    root
        Folder of the checkout, which holds ``config/``.
    where
        The config file, for error messages.
    overrides
        Those parts of the config that ``--config`` gave, for error messages.

    Raises
    ------
    GradbrainError
        A key is unknown or wrong, or a name is not in its registry.
    """
    overrides = overrides or {}
    settings = _read_settings(config, where, overrides)
    for folder in settings.registries:
        if not is_folder(folder):
            raise GradbrainError(
                f"{_source(['registries'], where, overrides)}: registries: there is no folder "
                f"{folder!r}; a path starts from the folder in which the command runs"
            )
    folders = [root / "config", *(Path(folder) for folder in settings.registries)]
    try:
        plugins = Plugins(settings.plugins)
    except GradbrainError as error:
        raise GradbrainError(f"{_source(['plugins'], where, overrides)}: {error}") from None
    registries = Registries(folders, plugins)
    at = f"{_source(['models'], where, overrides)}: models"
    models = expand(settings.models, registries.models, where=at)
    models = with_twins(models, registries, where=at)
    settings = settings.model_copy(update={"models": models})
    study = ResolvedStudy(settings, registries, where, overrides)
    study.check()
    return study
