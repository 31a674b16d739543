"""Which models, subjects and layers of a study are asked for."""

from __future__ import annotations

from gradbrain.config import GradbrainError
from gradbrain.config.study import ResolvedStudy


class Selection:
    """The parts of a study that its jobs are asked for: all, or those that the settings name.

    Parameters
    ----------
    study
        The study.
    """

    def __init__(self, study: ResolvedStudy) -> None:
        self.study = study
        settings = study.settings
        self.models = [name for name in study.models if self._wanted(name, settings.only_models)]
        self.subjects = [
            name for name in study.subjects if self._wanted(name, settings.only_subjects)
        ]

    @staticmethod
    def _wanted(name: str, only: tuple[str, ...]) -> bool:
        return not only or name in only

    def subjects_of(self, dataset: str) -> list[str]:
        """Subjects of a data set that the study takes, restricted or not."""
        return [name for name, entry in self.study.subjects.items() if entry.name == dataset]

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
