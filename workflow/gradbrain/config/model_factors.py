"""What sets the models of a study apart, and which of them differ in one factor alone.

A controlled comparison (Conwell et al. 2024, *Nature Communications* 15:9383) is one of models that
differ in a single thing: the objective, the images that they learnt from, the family of their
architecture, whether they were trained at all. Here pairs are found from the ``factors`` of the
entries: two models are compared in a factor where all others are known and agree. Everything else
is left out, and counted (*ours*).

Of one contrast, say ``dino`` minus ``supervised``, there is a pair for each setting of all other
factors, and no model is in two pairs: where several models share setting and level (initialisations
of an untrained network; architectures of a family), their mean is taken.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any, get_args

from gradbrain.config.errors import GradbrainError
from gradbrain.config.schema import ContrastSettings, FactorName, ModelEntry, NamedContrast
from gradbrain.config.suggestions import choose

FACTORS: tuple[FactorName, ...] = get_args(FactorName)
#: Factors with an order: the upper half of the values is compared with the lower one.
ORDERED: dict[FactorName, tuple[str, str]] = {
    "parameters": ("larger", "smaller"),
    "step": ("later", "earlier"),
    "input_size": ("larger", "smaller"),
}
TRAINED, UNTRAINED = "trained", "untrained"
#: Level of a model that has none of what a factor counts, e.g. was not fine-tuned.
NONE = "none"
#: Arguments of an architecture that are a factor of their own, or follow from the training diet.
NO_VARIANT = frozenset({"img_size", "num_classes"})


@dataclass(frozen=True)
class ModelFacts:
    """One model of a study and what sets it apart: a row of ``model_factors.csv``.

    Attributes
    ----------
    model
        Entry of models.yaml.
    architecture
        As its source names it.
    variant
        Other arguments of the architecture, as JSON; ``""`` where there are none.
    family
        Kind of architecture; ``""`` where unknown.
    trained
        Whether its weights were learnt.
    objective, diet
        Of the training; ``""`` where unknown, or not trained.
    fine_tuned_on, learning_rule, recipe
        Of the training; ``""``: not fine-tuned, backpropagation, the usual one.
    step
        Step of the training; None: the end of it.
    input_size
        Edge of the input in pixels.
    parameters
        In millions; None where unknown.
    year
        Of the description; None where unknown.
    """

    model: str
    architecture: str
    variant: str = ""
    family: str = ""
    trained: bool = True
    objective: str = ""
    diet: str = ""
    fine_tuned_on: str = ""
    learning_rule: str = ""
    recipe: str = ""
    step: int | None = None
    input_size: int = 224
    parameters: float | None = None
    year: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether objective and diet are known, which trained models are compared by."""
        return not self.trained or bool(self.objective and self.diet)

    @property
    def network(self) -> tuple[Hashable, ...]:
        """What an untrained twin shares with a trained model."""
        return (self.architecture, self.variant, self.input_size)

    @property
    def training(self) -> dict[str, Hashable]:
        """What is known of the training, by factor."""
        names = ("objective", "diet", "fine_tuned_on", "learning_rule", "recipe", "step")
        return {name: getattr(self, name) for name in names}

    def as_record(self) -> dict[str, Any]:
        """What is not as by default, for one argument of a command line."""
        defaults = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in asdict(self).items() if value != defaults[key]}


@dataclass(frozen=True)
class Pair:
    """Two sides of a contrast under one setting of all other factors; means over their models.

    Attributes
    ----------
    a, b
        Names of the models of either side.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """Pairs of models that differ in one factor, in the same way: ``a`` minus ``b``.

    Attributes
    ----------
    name
        Factor and levels, or the name that the study gives.
    factor
        What the sides differ in; ``named`` where the study says which are compared.
    a, b
        Levels.
    pairs
        One per setting of all other factors; no model is in two.
    """

    name: str
    factor: str
    a: str
    b: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Comparisons:
    """Contrasts of a study, and what cannot be compared.

    Attributes
    ----------
    contrasts
        In the order of the factors.
    one_factor, confounded, unknown
        How many pairs of models differ in one factor, in several, or in what is not known;
        initialisations of a network count as one model.
    alone
        Models in no contrast.
    """

    contrasts: tuple[Contrast, ...]
    one_factor: int
    confounded: int
    unknown: int
    alone: tuple[str, ...]


def facts_of(entry: ModelEntry, *, trained: bool) -> ModelFacts:
    """Read the factors of a model from its entry.

    Parameters
    ----------
    entry
        Of models.yaml.
    trained
        Whether its weights were learnt.
    """
    said = entry.factors
    kwargs = {key: value for key, value in entry.kwargs.items() if key not in NO_VARIANT}
    of_training: dict[str, Any] = {
        "objective": said.objective,
        "diet": said.diet,
        "fine_tuned_on": said.fine_tuned_on,
        "learning_rule": said.learning_rule,
        "recipe": said.recipe,
        "step": said.step,
    }
    return ModelFacts(
        model=entry.name,
        architecture=entry.architecture,
        variant=json.dumps(kwargs, sort_keys=True) if kwargs else "",
        family=said.family,
        trained=trained,
        input_size=entry.input_size,
        parameters=said.parameters,
        year=said.year,
        **(of_training if trained else {}),
    )


def facts_of_records(records: Iterable[Mapping[str, Any]]) -> list[ModelFacts]:
    """Read models back from :meth:`ModelFacts.as_record`.

    Raises
    ------
    GradbrainError
        A record has a key that is none.
    """
    try:
        return [ModelFacts(**record) for record in records]
    except TypeError as error:
        raise GradbrainError(f"--factors: a model is described by unknown keys ({error})") from None


def comparisons(
    models: Sequence[ModelFacts], settings: ContrastSettings, *, where: str = "contrasts"
) -> Comparisons:
    """Find the models of a study that differ in exactly one factor.

    Parameters
    ----------
    models
        Of the study.
    settings
        Factors to look at, contrasts to leave out, and those that the study names.
    where
        File and key, for error messages.

    Raises
    ------
    GradbrainError
        A named contrast asks for a model that the study has not, or has one on both sides or
        twice; or `leave_out` matches no contrast.
    """
    known = [model for model in models if model.is_known]
    factors = FACTORS if settings.factors == "all" else settings.factors
    found = [contrast for factor in factors for contrast in _contrasts_of(factor, known)]
    for pattern in settings.leave_out:
        if not any(fnmatchcase(contrast.name, pattern) for contrast in found):
            named = ", ".join(repr(contrast.name) for contrast in found[:5]) or "none"
            raise GradbrainError(
                f"{where}.leave_out: no contrast matches {pattern!r}; there are {named}"
            )
    kept = [
        contrast
        for contrast in found
        if not any(fnmatchcase(contrast.name, pattern) for pattern in settings.leave_out)
    ]
    names = [model.model for model in models]
    kept += [_named(contrast, names, where=f"{where}.named") for contrast in settings.named]
    compared = {name for one in kept for pair in one.pairs for name in (*pair.a, *pair.b)}
    counts = _count_pairs(models)
    return Comparisons(
        contrasts=tuple(kept),
        one_factor=counts["one"],
        confounded=counts["several"],
        unknown=counts["unknown"],
        alone=tuple(name for name in names if name not in compared),
    )


def _level(model: ModelFacts, factor: str) -> Any:
    """Where a model stands in a factor; None: nowhere."""
    if factor == "training":
        return TRAINED if model.trained else UNTRAINED
    if factor in ("family", *ORDERED):
        return None if (level := getattr(model, factor)) == "" else level
    # What is said of a training has no level where there was none.
    return (getattr(model, factor) or NONE) if model.trained else None


def _held(model: ModelFacts, factor: str) -> tuple[Hashable, ...]:
    """All that must agree for two models to be compared in a factor."""
    training = model.training
    if factor == "training":
        return model.network
    if factor in ("family", "parameters"):
        within = (model.family, model.variant) if factor == "parameters" else ()
        return (*within, model.trained, model.input_size, *training.values())
    training.pop(factor, None)
    if factor == "objective":
        # A recipe is a variant of an objective: those of another have none of the same.
        training.pop("recipe")
    network = model.network[:2] if factor == "input_size" else model.network
    return (*network, model.trained, *training.values())


def _strata(
    factor: str, models: Iterable[ModelFacts]
) -> dict[tuple[Hashable, ...], dict[Any, list[str]]]:
    """Setting of all other factors -> level -> models."""
    found: dict[tuple[Hashable, ...], dict[Any, list[str]]] = defaultdict(dict)
    for model in models:
        level = _level(model, factor)
        if level is not None:
            found[_held(model, factor)].setdefault(level, []).append(model.model)
    return found


def _contrasts_of(factor: FactorName, models: Sequence[ModelFacts]) -> Iterator[Contrast]:
    """Contrasts of one factor, those of most pairs first."""
    strata = _strata(factor, models)
    pairs: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for levels in strata.values():
        if factor in ORDERED:
            ordered = sorted(levels)
            half = len(ordered) // 2
            if half:
                upper, lower = ordered[-half:], ordered[:half]
                sides = (_members(levels, upper), _members(levels, lower))
                pairs[ORDERED[factor]].append(Pair(*sides))
            continue
        for a, b in combinations(sorted(levels, key=_rank), 2):
            pairs[a, b].append(Pair(tuple(levels[a]), tuple(levels[b])))
    for (a, b), own in sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0])):
        yield Contrast(f"{factor}: {a} - {b}", factor, a, b, tuple(own))


def _rank(level: str) -> tuple[bool, str]:
    """Levels by name; one that is nothing comes last, and is what others are compared with."""
    return level == NONE, level


def _members(levels: Mapping[Any, Sequence[str]], chosen: Iterable[Any]) -> tuple[str, ...]:
    return tuple(name for level in chosen for name in levels[level])


def _named(contrast: NamedContrast, names: Sequence[str], *, where: str) -> Contrast:
    """A contrast as the study names it, its patterns resolved."""
    at = f"{where}: {contrast.name}"
    pairs = [Pair(*(_matching(side, names, at) for side in pair)) for pair in contrast.pairs]
    used = [name for pair in pairs for name in (*pair.a, *pair.b)]
    twice = sorted({name for name in used if used.count(name) > 1})
    if twice:
        raise GradbrainError(
            f"{at}: {', '.join(twice)} stands there twice; pairs of a contrast share no model, so "
            "that each adds something of its own"
        )
    return Contrast(contrast.name, "named", contrast.a, contrast.b, tuple(pairs))


def _matching(pattern: str, names: Sequence[str], where: str) -> tuple[str, ...]:
    found = tuple(name for name in names if fnmatchcase(name, pattern))
    return found or (choose(pattern, names, what="model of the study", where=where),)


def _count_pairs(models: Sequence[ModelFacts]) -> dict[str, int]:
    """How many pairs of models differ in one factor, in several, or in what is not known."""
    units: dict[tuple[Hashable, ...], ModelFacts] = {}
    for model in models:
        key = (*model.network, model.family, model.trained, *model.training.values())
        units.setdefault(key, model)
    counts = {"one": 0, "several": 0, "unknown": 0}
    for one, other in combinations(units.values(), 2):
        if not (one.is_known and other.is_known):
            counts["unknown"] += 1
        else:
            counts["one" if _n_differences(one, other) == 1 else "several"] += 1
    return counts


def _n_differences(one: ModelFacts, other: ModelFacts) -> int:
    """In how many factors two models differ; a training that one of them has not is one."""
    n = int(one.network[:2] != other.network[:2]) + int(one.input_size != other.input_size)
    if one.trained != other.trained:
        return n + 1
    training = [name for name, value in one.training.items() if value != other.training[name]]
    if "objective" in training and "recipe" in training:
        training.remove("recipe")
    return n + len(training)
