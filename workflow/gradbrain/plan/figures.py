"""Figures of a study: which ones it has, and what each is drawn from."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import Plugin
from gradbrain.config.suggestions import choose
from gradbrain.figures.declarations import FORMATS, Declaration, declaration
from gradbrain.vocabulary.artefacts import artefact

if TYPE_CHECKING:
    from gradbrain.plan.jobs import Plan

# Results that only some studies have, and what is said where a figure of them is asked for. Without
# words it is drawn all the same, and says that it is empty.
NOT_IN_EVERY_STUDY = {
    "universes": "",
    "specification_curve": "",
    "reliability": "",
    "training": "shows how networks learnt, and this study trains none; take models with weights: "
    "{source: testbed, …} or leave the figure out",
    "alikeness": "compares learning signals of several rules, and the study's signal set has "
    "those of one; leave the figure out",
    "rule_pairs": "shows what signals explain beside one another, which this study does not "
    "estimate; name signals in encoding.rule_pairs or leave the figure out",
    **dict.fromkeys(
        ("prediction_rsa", "second_opinions"),
        "shows dissimilarities of held-out predictions, which this study does not compare; add "
        "them (rsa: {encoding: true}) or leave the figure out",
    ),
    "fusion": "shows the fusion of space and time, which this study does not compute; add it "
    "(rsa: {fusion: true}) or leave the figure out",
    "model_contrasts": "compares models that differ in one factor, and this study has none; add "
    "some, say which by the key contrasts, or leave the figure out",
}


class StudyFigures(Mapping[str, Declaration]):
    """Figures of a study by name: those asked for, or all that apply to what it holds.

    Parameters
    ----------
    plan
        The study's other jobs.

    Raises
    ------
    GradbrainError
        One that is asked for by name cannot be drawn from what the study holds.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        wanted, known = plan.study.settings.figures.names, plan.plugins.names("figures")
        # All of them, so that one that could not be drawn is refused where nobody asks for it yet.
        declared = {name: declaration(name, plan.plugins) for name in known}
        self._figures: dict[str, Declaration] = {}
        if wanted == "all":
            spaces = [(entry.axis, plan.space(entry)) for entry in plan.study.datasets.values()]
            for name, figure in declared.items():
                applies = any(figure.applies_to(axis, space) for axis, space in spaces)
                if applies and not self._lacking(figure) and not self._without_fits(figure):
                    self._figures[name] = figure
        else:
            where = f"{plan.study.source('figures', 'names')}: figures.names"
            for name in wanted:
                choose(name, known, what="figure", where=where)
                self._check(declared[name], where=f"{where}: figure {name!r}")
                self._figures[name] = declared[name]

    def __getitem__(self, name: str) -> Declaration:
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def _lacking(self, figure: Declaration) -> list[str]:
        """Results that a figure is drawn from and the study does not have."""
        return [
            kind for kind in NOT_IN_EVERY_STUDY if kind in figure.inputs and not self._has(kind)
        ]

    def _has(self, kind: str) -> bool:
        """Whether the study has one of those results that not every study has."""
        plan = self._plan
        if kind in ("universes", "specification_curve"):
            return bool(plan.universes)
        if kind == "fusion":
            return bool(plan.fused_datasets)
        if kind == "prediction_rsa":
            return bool(plan.second_opinions)
        return bool(self._results(kind))

    def _without_fits(self, figure: Declaration) -> bool:
        """Whether a figure shows fits that the study does not make."""
        partitioned = self._plan.study.settings.encoding.variance_partitioning
        return figure.joint_fits and not partitioned

    def _check(self, figure: Declaration, *, where: str) -> None:
        """Refuse a figure of results that the study does not have."""
        if self._without_fits(figure):
            raise GradbrainError(
                f"{where} shows fits of signals together with activations, which "
                "encoding.variance_partitioning: false leaves out; leave that key or the figure out"
            )
        for kind in self._lacking(figure):
            if NOT_IN_EVERY_STUDY[kind]:
                raise GradbrainError(f"{where} {NOT_IN_EVERY_STUDY[kind]}")

    def plugins(self, *names: str) -> list[Plugin]:
        """Modules of some figures; of all of the study where none is named."""
        return [
            self._plan.plugins.find("figures", name, where="figures.names")
            for name in names or self
        ]

    def _results(self, kind: str) -> list[str]:
        """Files of a kind of result that figures are drawn from."""
        plan = self._plan
        of_study = {
            "second_opinions": lambda: plan.second_opinions,
            "rsa": lambda: [path for model in plan.models for path in plan.rsa(model)],
            "reliability": lambda: plan.reliabilities,
            "training": lambda: plan.trainings,
            "alikeness": lambda: plan.alikenesses,
            "rule_pairs": lambda: plan.rule_pairs,
            "model_contrasts": lambda: plan.model_contrasts,
        }
        if kind in of_study:
            return of_study[kind]()
        return plan.per_model(kind) if "model" in artefact(kind).keys else [plan.path(kind)]

    def inputs(self, name: str) -> dict[str, list[str]]:
        """Results that a figure is drawn from, by command-line option."""
        return {kind: self._results(kind) for kind in self[name].reads}

    def options(self, name: str) -> str:
        """Those results as options of the command line, as the shell spells many alike paths.

        Linux refuses a single argument of 128 KiB, and the shell gets a whole command as one:
        similarity tables of hundreds of models and some people are more than that by name.
        """
        every = {"model": self._plan.models, "subject": self._plan.subjects}
        words = []
        for kind, paths in self.inputs(name).items():
            # A figure may do without what the study does not make.
            if not paths:
                continue
            keys = [key for key in artefact(kind).keys if key != "study"]
            spelled = shlex.join(paths)
            if len(paths) > 1 and set(keys) <= set(every):
                chosen = itertools.product(*(every[key] for key in keys))
                all_of_them = [
                    self._plan.path(kind, **dict(zip(keys, names, strict=True))) for names in chosen
                ]
                if paths == all_of_them:
                    spelled = self._plan.path(kind, **{key: _either(every[key]) for key in keys})
            words.append(f"--{kind.replace('_', '-')} {spelled}")
        return " ".join(words)

    def files(self) -> list[str]:
        """Files of all figures."""
        return [
            self._plan.path("figure", figure=name, ending=ending)
            for name in self
            for ending in FORMATS
        ]


def _either(names: Sequence[str]) -> str:
    """Names as the shell expands them, in their order; they hold nothing that it would quote."""
    return names[0] if len(names) == 1 else f"{{{','.join(names)}}}"
