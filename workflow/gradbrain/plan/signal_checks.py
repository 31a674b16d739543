"""Checks of signals before any job: that what they name exists and works on the networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import (
    RuleCase,
    check_controls,
    check_rule,
    signal_needs,
    signal_uses,
)
from gradbrain.config.schema import LayerLayout, SignalEntry, SignalSet, precision_of_passes
from gradbrain.config.suggestions import choose
from gradbrain.datasets.registry import gives_captions
from gradbrain.plan.parts import PlanPart
from gradbrain.plan.study_entries import DATA
from gradbrain.vocabulary.image_statistics import ALL_LEVELS

if TYPE_CHECKING:
    from gradbrain.plan.jobs import Plan


class SignalChecks(PlanPart):
    """Checks of the signals of a study."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._registries = plan.study.registries
        self._plugins = plan.plugins

    def run(self) -> None:
        """Refuse signals whose rule, objective, options, calibration or captions do not exist.

        Signal sets whose pooling asks for tokens that a layer does not have are refused too.

        Raises
        ------
        GradbrainError
            The entry, the key and what may stand there.
        """
        self.nuisance()
        for name in dict.fromkeys(name for _, name, _, _ in self._plan.all_features()):
            signal_set = self._plan.signal_set(name)
            self._study.check_calibration(signal_set)
            for signal in signal_set.signals:
                where = self._registries.place("signal", signal.name)
                signal_uses(signal, self._plugins, where=where)
            place = self._study.place_of_set(name)
            check_controls(signal_set, self._plugins, where=place)
        self._plan.multiverse.check()
        self._training()
        self._decoders()
        self._rules()
        self._pooling()
        self._captions()

    def _training(self) -> None:
        """Refuse to train what cannot be trained, or on images that nobody knows."""
        for model in self._plan.trained_here:
            where = f"{self._registries.place('model', model)}: weights"
            source = self._plan.model_entry(model).weights.source
            if not self._plan.model_entry(model).has_decoder:
                raise GradbrainError(
                    f"{where}: source: {source!r} trains autoencoders, found a network of source "
                    f"{self._plan.model_entry(model).source!r}; set source: autoencoder and an "
                    "architecture of it, or take other weights"
                )
            images = self._plan.weights_options(model).training_images()
            choose(
                images, sorted(self._plan.stimuli), what="stimulus set", where=f"{where}: images"
            )

    def _decoders(self) -> None:
        """Refuse to compare images with what a network gives back that gives none back."""
        for model, name in self._models_and_sets():
            entry = self._plan.model_entry(model)
            for signal in self._plan.taken_set(model, name).signals:
                if "decoder" in signal_needs(signal, self._plugins) and not entry.has_decoder:
                    raise GradbrainError(
                        f"{self._registries.place('signal', signal.name)}: needs a network "
                        f"that gives images back, and model {model!r} "
                        f"({self._registries.place('model', model)}) has no decoder; take "
                        "models with source: autoencoder, or another signal set"
                    )

    def _models_and_sets(self) -> list[tuple[str, str]]:
        """Models of the study, each with every signal set that is taken from it."""
        return list(dict.fromkeys((model, name) for model, name, *_ in self._plan.all_features()))

    def _rules(self) -> None:
        """Refuse rules that do not work on a network, or say nothing as they are scaled."""
        for model, name in self._models_and_sets():
            if not self._plan.model_entry(model).is_network:
                continue
            signal_set = self._plan.taken_set(model, name)
            for signal in signal_set.signals:
                place = self._registries.place("signal", signal.name)
                use, *_ = signal_uses(signal, self._plugins, where=place)
                case = self._rule_case(model, signal_set, signal)
                check_rule(use, case, where=f"{place}: model {model!r}")

    def _rule_case(self, model: str, signal_set: SignalSet, signal: SignalEntry) -> RuleCase:
        """What is known beforehand of a signal's rule on a model."""
        entry = self._plan.model_entry(model)
        layers = self._plan.known_layers(model)
        return RuleCase(
            role=signal.role,
            normalise=signal_set.normalise_of(signal),
            learned_by=self._plan.weights_options(model).learned_by,
            precision=precision_of_passes(self._study.settings.features.precision),
            layouts=tuple(layer.layout_in(entry) for layer in layers),
            weights=layers[0].weights,
            own_inverses=entry.has_decoder,
        )

    def nuisance(self) -> None:
        """Refuse nuisance bands whose model, layer, signal set or signal does not exist."""
        for band in self._plan.nuisance:
            where = f"{self._study.source('encoding', 'nuisance')}: encoding.nuisance: {band.name}"
            model = self._registries.model(band.model, where=f"{where}: model")
            name = self._plan.band_set(band)
            self._registries.signal_set(name, where=f"{where}: signal_set")
            names = [signal.name for signal in self._plan.taken_set(band.model, name).signals]
            if band.signal is not None:
                what = f"signal of {name} that {band.model} has"
                choose(band.signal, names, what=what, where=where)
            layers = self._plan.chain(band.model) + ([] if model.is_network else [ALL_LEVELS])
            choose(band.layer, layers, what=f"layer of {band.model}", where=f"{where}: layer")

    def _pooling(self) -> None:
        """Refuse a pooling that asks for tokens which layers of a model do not have."""
        unfit: dict[tuple[str, str, LayerLayout], list[str]] = {}
        for model, name, layer, _ in self._plan.all_features():
            if not self._plan.model_entry(model).is_network:
                continue
            layout = self._plan.layer(model, layer).layout_in(self._plan.model_entry(model))
            if layout is not None and not self._plan.signal_set(name).pooling.accepts(layout):
                layers = unfit.setdefault((model, name, layout), [])
                if layer not in layers:
                    layers.append(layer)
        if unfit:
            lines = (self._unfit_pooling(*key, layers) for key, layers in unfit.items())
            raise GradbrainError("\n".join(lines))

    def _unfit_pooling(self, model: str, name: str, layout: LayerLayout, layers: list[str]) -> str:
        """Say which layers of a model a signal set cannot pool, and what to do."""
        listed = ", ".join(layers[:3]) + (", …" if len(layers) > 3 else "")
        where = (
            f"{self._registries.place('signal set', name)}: pooling: "
            f"{self._plan.signal_set(name).pooling.kind!r} cannot pool layers {listed} of "
            f"model {model!r}"
        )
        if layout == "other":
            return (
                f"{where}, which give neither tokens on a square grid nor a map; name other layers "
                "of the model in the study (`layers`)"
            )
        return (
            f"{where}, which have no class token (layout {layout!r}); take a signal set with "
            "pooling {kind: mean} or {kind: grid, size: 4} for this model, or models that have one"
        )

    def _captions(self) -> None:
        """Refuse to compare with text where a model has no text tower or images no captions."""
        stores = dict.fromkeys(
            (model, name, stimuli) for model, name, _, stimuli in self._plan.all_features()
        )
        for model, name, stimuli in stores:
            signal_set = self._plan.taken_set(model, name)
            for signal in signal_set.signals:
                needs = signal_needs(signal, self._plugins)
                where = self._registries.place("signal", signal.name)
                if "text_tower" in needs and self._plan.model_entry(model).text_tower is None:
                    raise GradbrainError(
                        f"{where}: compares images with text, but model {model!r} has no "
                        f"text_tower ({self._registries.place('model', model)}); take models "
                        "that have one, such as clip_large and siglip2_large, or another signal set"
                    )
                needed = [stimuli] if "captions" in needs else []
                if "calibration_captions" in needs:
                    needed.append(signal_set.calibration)
                for images in needed:
                    self._captions_of(images, where)

    def _captions_of(self, stimuli: str, where: str) -> None:
        for name in self._study.chosen_stimuli.get(stimuli, (stimuli,)):
            self._captions_of_set(name, where)

    def _captions_of_set(self, stimuli: str, where: str) -> None:
        entry = self._plan.stimuli[stimuli]
        _, options = self._plan.adapter(entry)
        if not gives_captions(
            entry, options, stimuli, Path(DATA) / entry.name, plugins=self._plugins
        ):
            raise GradbrainError(
                f"{where}: compares images with text, but the images of stimulus set {stimuli!r} "
                f"have no captions ({self._registries.place('data set', entry.name)}); give "
                "the entry captions (docs/data.md says how), or take another signal set"
            )
