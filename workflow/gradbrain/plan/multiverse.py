"""Jobs of a multiverse: which features and fits universes share, and where their results lie."""

from __future__ import annotations

import json
import shlex
from functools import cached_property
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import signal_needs
from gradbrain.config.schema import OTHER_THAN_FITS, SensitivitySettings
from gradbrain.config.universes import Universe
from gradbrain.plan.parts import PlanPart


class Multiverse(PlanPart):
    """The universes of a study, as jobs.

    The universe of the study's own choices, and those that differ from it in statistics alone, are
    judged from the statistics that the study has anyway; all others have fits of their own.
    """

    @cached_property
    def by_name(self) -> dict[str, Universe]:
        """Name -> universe."""
        return {universe.name: universe for universe in self._plan.universes}

    @cached_property
    def fits(self) -> dict[str, Universe]:
        """Digest of fits -> a universe that has them, without those of the study itself."""
        found = {universe.fit: universe for universe in reversed(self._plan.universes)}
        if self._plan.universes:
            del found[self._plan.universes[0].fit]
        return dict(sorted(found.items()))

    @cached_property
    def passes(self) -> list[list[str]]:
        """Signal sets that are read from the same passes through a network, in lists."""
        groups: dict[str, list[str]] = {}
        for universe in self._plan.universes:
            name = universe.signal_set.name
            if name in self._plan.universe_sets:
                names = groups.setdefault(universe.sources, [])
                if name not in names:
                    names.append(name)
        return [sorted(names) for names in groups.values()]

    def extractions(self) -> list[tuple[str, list[str], list[str]]]:
        """(model, signal sets, layers) that one job each reads from the same passes."""
        return [
            (model, names, self._plan.layers(model))
            for model in self._study.models
            for names in self.passes
        ]

    def settings(self) -> SensitivitySettings:
        """The section of the study."""
        found = self._study.settings.sensitivity
        assert found is not None
        return found

    # --- fits ------------------------------------------------------------------------------------

    def path(self, kind: str, fit: str, model: str, dataset: str) -> str:
        """Result of the fits of a data set under one set of choices."""
        return self._plan.path(kind, fit=fit, model=model, dataset=dataset)

    def fit_paths(self, kind: str) -> list[str]:
        """Results of a kind of all fits."""
        plan = self._plan
        return [
            self.path(kind, fit, model, dataset)
            for fit in self.fits
            for model in plan.study.models
            for dataset in plan.study.datasets
        ]

    def fit_inputs(self, fit: str, model: str, dataset: str) -> list[str]:
        """Response and feature stores that the fits of a data set read."""
        groups = self._subjects(fit, model, dataset)
        return list(dict.fromkeys(path for group in groups for path in group))

    def subject_options(self, fit: str, model: str, dataset: str) -> str:
        """The same as options of the command line, subject by subject."""
        groups = self._subjects(fit, model, dataset)
        return " ".join(f"--subject {shlex.join(group)}" for group in groups)

    def _subjects(self, fit: str, model: str, dataset: str) -> list[list[str]]:
        plan, signal_set = self._plan, self.fits[fit].signal_set.name
        found = []
        for subject in plan.subjects_of(dataset):
            stimuli = plan.study.seen_by(subject)
            found.append(
                [
                    plan.path("responses", subject=subject),
                    *(
                        plan.features(model, layer, signal_set, stimuli)
                        for layer in plan.layers(model)
                    ),
                    *plan.nuisance_features(subject),
                ]
            )
        return found

    def fit_signals(self, fit: str) -> str:
        """Signal set of a fit as JSON, with who controls whom and without labels and colours."""
        said = {"signals": {"__all__": {"label", "colour"}}}
        return self.fits[fit].signal_set.model_dump_json(exclude=said)

    def fit_settings(self, fit: str) -> str:
        """Section encoding of a fit as JSON."""
        return self._plan.as_json(self.fits[fit].encoding, without=OTHER_THAN_FITS)

    # --- universes -------------------------------------------------------------------------------

    def statistics_of(self, universe: str, *, draws: bool) -> list[str]:
        """Tables of statistics, or stores of their draws, that a universe is judged from."""
        plan, fit = self._plan, self.by_name[universe].fit
        suffix = "_draws" if draws else ""
        if fit not in self.fits:
            return plan.per_model(f"hierarchy{suffix}")
        return [
            self.path(f"universe_hierarchy{suffix}", fit, model, dataset)
            for model in plan.study.models
            for dataset in plan.study.datasets
        ]

    def universe_settings(self, universe: str) -> str:
        """Section statistics of a universe as JSON."""
        return self._plan.as_json(self.by_name[universe].statistics)

    @property
    def claims(self) -> list[str]:
        """Claims of all universes, in their order."""
        return [
            self._plan.path("universe_claims", universe=universe.name)
            for universe in self._plan.universes
        ]

    @property
    def results(self) -> list[str]:
        """Tables of the whole multiverse; none where the study varies nothing."""
        if not self._plan.universes:
            return []
        return [self._plan.path("universes"), self._plan.path("specification_curve")]

    def described(self) -> str:
        """Every universe with its claims and its choices, as JSON."""
        found = [
            {"name": universe.name, "claims": path, "choices": self._choices(universe)}
            for universe, path in zip(self._plan.universes, self.claims, strict=True)
        ]
        return json.dumps(found, ensure_ascii=False)

    def _choices(self, universe: Universe) -> list[dict[str, Any]]:
        """Rows of the table of universes: one per factor."""
        rows = []
        for order, factor in enumerate(self.settings().factors):
            names = [level.name for level in factor.levels]
            place = names.index(universe.levels[factor.name])
            level = factor.levels[place]
            rows.append(
                {
                    "universe": universe.name,
                    "kind": universe.kind,
                    "factor": factor.name,
                    "factor_label": factor.label or _spaced(factor.name),
                    "factor_order": order,
                    "level": level.name,
                    "level_label": level.label or _spaced(level.name),
                    "level_order": place,
                    "fit": universe.fit,
                    "signal_set": universe.signal_set.name,
                }
            )
        return rows

    def check(self) -> None:
        """Refuse levels that give options to a signal whose rule has a fitted model.

        Raises
        ------
        GradbrainError
            Such models are named by their signal, and two of them cannot have one name.
        """
        if not self._plan.universes:
            return
        changed = {
            name
            for factor in self.settings().factors
            for level in factor.levels
            for name in level.signals
        }
        for signal in self._study.signal_set.signals:
            if signal.name in changed and "fit" in signal_needs(signal, self._plan.plugins):
                raise GradbrainError(
                    f"{self._study.source('sensitivity')}: sensitivity: signals: "
                    f"{signal.name!r} has a fitted model, which is named by its signal: take a "
                    "signal of another name, in another signal set"
                )


def _spaced(name: str) -> str:
    return name.replace("_", " ")
