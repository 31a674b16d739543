"""Results of a study: which ones it has, and where each of them lies."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import viewing_objectives
from gradbrain.config.suggestions import choose
from gradbrain.plan.study_entries import StudyEntries
from gradbrain.vocabulary.artefacts import RESULTS, artefact
from gradbrain.vocabulary.roles import ACTIVATION, ROI, TIME


class StudyResults(StudyEntries):
    """Paths of the results that a study has, by kind."""

    @property
    def results(self) -> str:
        """Folder of the study's own results."""
        return f"{RESULTS}/{self.study.name}"

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

    def is_fused(self, signal_set: str) -> bool:
        """Whether one job takes all layers of a model: as set, or because a rule needs them all.

        Sets of a multiverse are read from shared passes, of all layers.
        """
        unit = self.study.settings.features.unit
        varied = signal_set in self.universe_sets
        return unit == "model" or varied or self.takes_chain(signal_set)

    def all_features(self) -> list[tuple[str, str, str, str]]:
        """(model, signal set, layer, stimuli) of every feature store that the study needs."""
        stores: dict[tuple[str, str, str, str], None] = {}
        for subject in self.subjects:
            entry = self.study.subjects[subject]
            stimuli = self.study.seen_by(subject)
            module, options = self.adapter(entry)
            for model, layer, planted in module.required_features(entry, options):
                stores[model, planted, layer, entry.stimuli_of(subject)] = None
            for model in self.models:
                for layer in self.layers(model):
                    for name in (self.set_of(model), *self.universe_sets):
                        stores[model, name, layer, stimuli] = None
            for band in self.nuisance:
                stores[band.model, self.band_set(band), band.layer, stimuli] = None
        return list(stores)

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

    def feedback(self, model: str, signal_set: str) -> list[str]:
        """Fitted models that the extraction of a signal set reads."""
        calibration = self.signal_set(signal_set).calibration
        return [
            self.path("feedback", model=model, signal=signal.name, calibration=calibration)
            for signal in self.fitted_signals(signal_set)
        ]

    @property
    def reduces_activations(self) -> bool:
        """Whether fits are given the principal components of all layers' activations."""
        settings = self.study.settings.encoding
        return settings.variance_partitioning and settings.baseline_components is not None

    def nuisance_of_fit(self, subject: str) -> list[str]:
        """Feature stores of the nuisance bands that a fit reads."""
        partitioned = self.study.settings.encoding.variance_partitioning
        return self.nuisance_features(subject) if partitioned else []

    def nuisance_features(self, subject: str) -> list[str]:
        """Feature stores of the nuisance bands, for the images that a subject saw."""
        stimuli = self.study.seen_by(subject)
        return [
            self.features(band.model, band.layer, self.band_set(band), stimuli)
            for band in self.nuisance
        ]

    def features_of_model(self, model: str, stimuli: str) -> list[str]:
        """Feature stores of all layers that the study takes from a model."""
        return [
            self.features(model, layer, self.set_of(model), stimuli) for layer in self.layers(model)
        ]

    def features_for_subject(self, model: str, subject: str) -> list[str]:
        """Feature stores of all layers of a model, for the images that a subject saw."""
        return self.features_of_model(model, self.study.seen_by(subject))

    def features_of_fit(self, model: str, layer: str, subject: str) -> list[str]:
        """Feature stores that a fit reads: of all layers, unless their reduction is given."""
        if not self.reduces_activations:
            return self.features_for_subject(model, subject)
        stimuli = self.study.seen_by(subject)
        return [self.features(model, layer, self.set_of(model), stimuli)]

    def baseline(self, model: str, subject: str) -> list[str]:
        """Reduced activations of all layers, where the study reduces them."""
        if not self.reduces_activations:
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
        if len(self.signals_beside(model)) == 0:
            return []
        return [self.path("unique", model=model, subject=subject) for subject in self.subjects]

    @cached_property
    def rule_pairs(self) -> list[str]:
        """Tables of what signals explain beside one another, of all models that have them.

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
            if wanted and set(wanted) <= set(self.signals_beside(model))
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

    @property
    def alikenesses(self) -> list[str]:
        """Tables of how alike the signals of the selected networks are, one per stimulus set."""
        if not self.compares_rules:
            return []
        return [
            self.path("alikeness", model=model, stimuli=stimuli)
            for model in self.models
            if len(self.signals_beside(model)) > 1
            for stimuli in self.viewed_stimuli()
        ]

    def reliability(self, model: str) -> list[str]:
        """Tables of how well the signals of a network repeat themselves, one per stimulus set."""
        if not self.uncertain_signals(model):
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

    def per_model(self, kind: str) -> list[str]:
        """One result of a kind per selected model."""
        return [self.path(kind, model=model) for model in self.models]

    def fused_extractions(self) -> list[tuple[str, str, list[str]]]:
        """(model, signal set, layers) that one job each takes in a single pass."""
        fused = {(model, self.set_of(model)): self.layers(model) for model in self.study.models}
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
