"""What a study cannot say or does not read, told before any job."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradbrain.config.model_factors import Comparisons
from gradbrain.config.plugins import HOMES
from gradbrain.config.study import ResolvedStudy
from gradbrain.vocabulary.roles import LEARNING, ROI, TIME

#: Options of adapters that name the regions of a data set.
REGIONS = ("roi_order", "regions")
#: With fewer layers or regions a correlation with their order is undefined.
FEWEST_IN_ORDER = 3
#: Contrasts and models that a notice names, the first of many.
MOST_CONTRASTS = 12
MOST_MODELS = 8


def notices(
    study: ResolvedStudy,
    options: Mapping[str, Any],
    untrained: Collection[str],
    comparisons: Comparisons,
) -> list[str]:
    """List what no claim of the study will be able to say, and modules that it passes over.

    Parameters
    ----------
    study
        The study.
    options
        Data set -> its options, validated.
    untrained
        Models whose weights were not learnt.
    comparisons
        Contrasts of models of the study.

    Returns
    -------
    list of str
        A sentence each; empty where every prediction can be judged.
    """
    return [
        *_of_subjects(study),
        *_of_regions(study, options),
        *_of_draws(study),
        *_of_models(study, untrained),
        *_of_contrasts(comparisons),
        *_of_signals(study),
        *_of_plugins(study),
    ]


def _of_subjects(study: ResolvedStudy) -> Iterator[str]:
    settings = study.settings.statistics
    owners = [entry.name for entry in study.subjects.values()]
    for name, entry in study.datasets.items():
        n = owners.count(name)
        if entry.axis is None or not n:
            continue
        if n == 1:
            yield (
                f"data set {name!r} has one subject: its claims speak of this person alone, each "
                "layer is scored at the region or time of its own choice, and there is no ceiling "
                "between subjects"
            )
        elif n < settings.min_subjects:
            yield (
                f"data set {name!r} has {n} subjects, statistics.min_subjects is "
                f"{settings.min_subjects}: its claims speak of these people and of no others"
            )
        elif 2.0**-n > settings.alpha:
            yield (
                f"data set {name!r} has {n} subjects, whose signs reach no p below {2.0**-n:.2g}: "
                f"none of its claims can be supported at statistics.alpha = {settings.alpha:g}"
            )


def _of_regions(study: ResolvedStudy, options: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in study.datasets.items():
        found = (getattr(options[name], key, ()) for key in REGIONS)
        regions: Sequence[str] = tuple(next(filter(None, found), ()))
        if entry.axis == ROI and len(regions) == 1:
            yield (
                f"data set {name!r} has one region, {regions[0]}: there are no places to compare, "
                "so that A1, P2 and P5 are not judged"
            )


def _of_draws(study: ResolvedStudy) -> Iterator[str]:
    n_draws, alpha = study.settings.encoding.n_draws, study.settings.statistics.alpha
    if 1 / (n_draws + 1) > alpha:
        yield (
            f"encoding.n_draws is {n_draws}: permuted images reach no p below "
            f"{1 / (n_draws + 1):.2g}, so that no claim that is tested by them can be supported at "
            f"statistics.alpha = {alpha:g}"
        )


def _of_models(study: ResolvedStudy, untrained: Collection[str]) -> Iterator[str]:
    axes = {entry.axis for entry in study.datasets.values()}
    by_count: dict[int, list[str]] = {}
    for model, layers in study.layers.items():
        by_count.setdefault(len(layers), []).append(model)
    for n, models in sorted(by_count.items()):
        if n == 1:
            yield f"{_have(models)} one layer here: no layers are in any order (A1, P4, P5)"
        elif n < FEWEST_IN_ORDER and TIME in axes:
            yield (
                f"{_have(models)} {n} layers here: their order in time (A1, P4) takes "
                f"{FEWEST_IN_ORDER}"
            )
    if untrained:
        yield (
            f"A1 speaks of pretrained models: of {_listed(sorted(untrained))}, untrained, it is "
            "descriptive"
        )


def _have(models: Sequence[str]) -> str:
    return f"model {models[0]!r} has" if len(models) == 1 else f"models {_listed(models)} have"


def _listed(models: Sequence[str]) -> str:
    """The first of some models by name, and how many more there are."""
    more = len(models) - MOST_MODELS
    named = ", ".join(models[:MOST_MODELS])
    return f"{named} and {more} more" if more > 0 else named


def _of_contrasts(comparisons: Comparisons) -> Iterator[str]:
    found = comparisons.contrasts
    if found:
        named = ", ".join(f"{one.name} ({len(one.pairs)})" for one in found[:MOST_CONTRASTS])
        more = len(found) - MOST_CONTRASTS
        yield (
            f"models are compared in {len(found)} contrasts (pairs): {named}"
            f"{f' and {more} more' if more > 0 else ''}. Of pairs of models "
            f"{comparisons.one_factor} differ in one factor; left out are "
            f"{comparisons.confounded} that differ in several and {comparisons.unknown} of which "
            "objective or images are not known"
        )


def _of_signals(study: ResolvedStudy) -> Iterator[str]:
    signal_set = study.signal_set
    learning = [signal.name for signal in signal_set.signals if signal.role == LEARNING]
    if not learning:
        yield f"signal set {signal_set.name!r} has no learning signal: nothing but A1 is judged"
    without = [
        signal
        for signal in signal_set.signals
        if signal.role == LEARNING and not signal_set.controls_of(signal.name)
    ]
    lacking = [signal.name for signal in without if signal.objective]
    if lacking:
        yield (
            f"signal set {signal_set.name!r} has no control of {', '.join(lacking)}: C2 is not "
            "judged"
        )
    none_needed = [signal.name for signal in without if not signal.objective]
    if none_needed:
        yield (
            f"{', '.join(none_needed)}: no objective, and so no error that a control could lack: "
            "C2 is not judged; compare with an untrained network"
        )


def _of_plugins(study: ResolvedStudy) -> Iterator[str]:
    named = {Path(folder).resolve() for folder in study.settings.plugins}
    for folder in map(Path, study.settings.registries):
        kinds = [kind for kind in HOMES if any((folder / kind).glob("[!_.]*.py"))]
        if kinds and folder.resolve() not in named:
            yield (
                f"{folder} has modules in {', '.join(f'{kind}/' for kind in kinds)}, which "
                f"`registries` does not read: name the folder under `plugins: [{folder}]` as well"
            )
