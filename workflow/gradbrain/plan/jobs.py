"""Jobs of a study: what the rules ask for by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY
from gradbrain.config.study import ResolvedStudy
from gradbrain.config.suggestions import choose
from gradbrain.figures.declarations import FORMATS
from gradbrain.plan.checks import StudyChecks
from gradbrain.plan.figures import StudyFigures
from gradbrain.plan.images import ImagesAndFolds
from gradbrain.plan.memory import JobMemory
from gradbrain.plan.multiverse import Multiverse
from gradbrain.plan.notices import notices
from gradbrain.plan.parameters import JobParameters
from gradbrain.plan.signal_checks import SignalChecks
from gradbrain.vocabulary.artefacts import ARTEFACTS
from gradbrain.vocabulary.image_statistics import ALL_LEVELS


class Plan(JobParameters):
    """The jobs of a study.

    What most jobs ask for stands in the classes below this one, each on top of the last: the parts
    that are asked for, their entries, results and parameters. What few ask for is a part of its
    own: `multiverse`, `images`, `memory`, `figures`.
    """

    def __init__(self, study: ResolvedStudy, root: Path) -> None:
        super().__init__(study, root)
        self.multiverse = Multiverse(self)
        self.images = ImagesAndFolds(self)
        self.memory = JobMemory(self)

    @cached_property
    def figures(self) -> StudyFigures:
        """Figures of the study, by name.

        Raises
        ------
        GradbrainError
            One that is asked for by name cannot be drawn from what the study holds.
        """
        return StudyFigures(self)

    def check(self, *, packages: bool = True) -> None:
        """Find what is missing or has changed before any job starts: `StudyChecks.run`."""
        StudyChecks(self).run(packages=packages)

    def check_signals(self) -> None:
        """Refuse signals that name what does not exist or does not work: `SignalChecks.run`."""
        SignalChecks(self).run()

    def notices(self) -> list[str]:
        """Say what no claim will be able to say; a part of a study makes none anyway."""
        if self.study.is_subset:
            return []
        return notices(self.study, self.options_of_datasets, self.untrained, self.comparisons)

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

    def feature_targets(self) -> list[str]:
        """Feature stores of the selected models, subjects and layers."""
        return [
            self.features(model, layer, self.set_of(model), stimuli)
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
            "signal_set": ("signal set", [*registries.signal_sets, *self.universe_sets]),
            "figure": ("figure of the study", self.figures),
            "ending": ("format of figures", FORMATS),
            "fit": ("fit of the multiverse", self.multiverse.fits),
            "universe": ("universe", self.multiverse.by_name),
        }
        for key, name in keys.items():
            if key in known:
                what, names = known[key]
                choose(name, names, what=what, where=where)
        if {"model", "layer"} <= set(keys):
            names = [*self.chain(keys["model"]), ALL_LEVELS]
            choose(keys["layer"], names, what=f"layer of {keys['model']}", where=where)

    def results_by_path(self) -> list[str]:
        """Paths of results that a user may ask for by name."""
        return [
            *self.figures.files(),
            *(self.path(kind) for kind in ("claims", "claims_page", "report", "config", "entries")),
            *self.model_contrasts,
            *(path for kind in ("scores", "maps", "hierarchy") for path in self.per_model(kind)),
            *self.feature_targets(),
            *self.encoding_targets(),
        ]
