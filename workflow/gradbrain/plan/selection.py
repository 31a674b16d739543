"""Which models, subjects and layers of a study are asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.config.schema import SignalSet
from gradbrain.config.study import ResolvedStudy
from gradbrain.config.universes import universes_of


class Selection:
    """The parts of a study that its jobs are asked for: all, or those that the settings name.

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
        self.universes = universes_of(study)
        settings = study.settings
        self.models = [name for name in study.models if self._wanted(name, settings.only_models)]
        self.subjects = [
            name for name in study.subjects if self._wanted(name, settings.only_subjects)
        ]

    @staticmethod
    def _wanted(name: str, only: tuple[str, ...]) -> bool:
        return not only or name in only

    @cached_property
    def universe_sets(self) -> dict[str, SignalSet]:
        """Signal sets that universes have beside that of the study, by name."""
        sets = {one.signal_set.name: one.signal_set for one in self.universes}
        return {name: found for name, found in sets.items() if name != self.study.signal_set.name}

    def subjects_of(self, dataset: str) -> list[str]:
        """Subjects of a data set that the study takes, restricted or not."""
        return [name for name, entry in self.study.subjects.items() if entry.name == dataset]

    def set_of(self, model: str) -> str:
        """Signal set that the study takes from a model."""
        return self.study.signal_sets[model].name

    def layers(self, model: str) -> list[str]:
        """Layers that the study takes from a model, in order of depth."""
        return [layer.name for layer in self.study.layers[model]]

    def viewed_stimuli(self) -> list[str]:
        """Stimulus sets that the selected subjects saw."""
        viewed = (self.study.seen_by(name) for name in self.subjects)
        return list(dict.fromkeys(viewed))

    def _selected_layers(self, model: str) -> list[str]:
        only = self.study.settings.only_layers
        return [layer for layer in self.layers(model) if self._wanted(layer, only)]

    def whole_study(self, *paths: str) -> list[str]:
        """Targets that speak of the whole study; a subset of it may not make them.

        Raises
        ------
        GradbrainError
            When a job is asked for them though models, subjects or layers are restricted.
        """
        return self._unless_restricted(
            paths,
            ("only_models", "only_subjects", "only_layers"),
            "claims, figures and the report speak of the whole study and are not made from a part "
            "of it. Leave out the key, or ask for `encoding`, `features` or nothing in particular",
        )

    def all_subjects(self, *paths: str) -> list[str]:
        """Inputs of what speaks of all subjects of a data set; refused as `whole_study` does."""
        return self._unless_restricted(
            paths,
            ("only_subjects",),
            "ceilings between subjects speak of all subjects of a data set and are not made from "
            "some of them. Leave out the key, or ask for `encoding`",
        )

    def whole_model(self, *paths: str) -> list[str]:
        """Targets of all layers and subjects of a model; refused as `whole_study` does."""
        return self._unless_restricted(
            paths,
            ("only_subjects", "only_layers"),
            "scores, maps and hierarchy hold all subjects and layers of a model and are not made "
            "from a part of them. Leave out the key, or ask for `encoding`",
        )

    def _unless_restricted(
        self, paths: tuple[str, ...], keys: tuple[str, ...], refusal: str
    ) -> list[str]:
        restricting = [key for key in keys if getattr(self.study.settings, key)]
        if not restricting:
            return list(paths)
        place = self.study.source(restricting[0])
        raise GradbrainError(f"{place}: {', '.join(restricting)}: {refusal}")
