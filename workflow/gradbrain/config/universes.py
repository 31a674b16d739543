"""The multiverse of a study: its choices varied one at a time and in seeded combinations.

A *universe* is the study with some of its choices made otherwise. Universes whose signals and fits
are the same share them; they differ in statistics alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from gradbrain.config.errors import GradbrainError
from gradbrain.config.faults import describe
from gradbrain.config.schema import (
    MAX_NAME,
    OTHER_THAN_FITS,
    EncodingSettings,
    Factor,
    Level,
    SignalEntry,
    SignalSet,
    StatisticsSettings,
    StrictModel,
)
from gradbrain.config.study import ResolvedStudy
from gradbrain.config.suggestions import choose

Kind = Literal["base", "one_at_a_time", "combination"]
BASE: Kind = "base"
ONE_AT_A_TIME: Kind = "one_at_a_time"
COMBINATION: Kind = "combination"
DIGITS = 8
# Of an entry of signals.yaml, what a level may change: who a signal is stays as it is.
SIGNAL_KEYS = ("rule_options", "options")
# Of sections, what names results or machines and is no choice of analysis.
FIXED = {
    "signal_set": ("name", "signals"),
    "encoding": (*OTHER_THAN_FITS, "nuisance"),
    "statistics": (),
}


@dataclass(frozen=True)
class Universe:
    """A study with its choices made in one way.

    Attributes
    ----------
    name
        Digest of the choices; ``"base"`` where all are those of the study.
    kind
        Whether it is the study, differs from it in one factor, or is a drawn combination.
    levels
        Factor -> name of the level, in the order of the factors.
    signal_set, encoding, statistics
        Settings of the stages.
    """

    name: str
    kind: Kind
    levels: Mapping[str, str]
    signal_set: SignalSet
    encoding: EncodingSettings
    statistics: StatisticsSettings

    @property
    def fit(self) -> str:
        """Digest of what the fits follow from; universes that share it share their fits."""
        judged = self.signal_set.model_dump(
            mode="json", exclude={"signals": {"__all__": {"label", "colour"}}}
        )
        encoding = self.encoding.model_dump(mode="json", exclude=set(OTHER_THAN_FITS))
        return _digest({"signal_set": judged, "encoding": encoding})

    @property
    def sources(self) -> str:
        """Digest of what the passes through a network follow from, before pooling and scaling."""
        kept = self.signal_set.model_dump(
            mode="json",
            include={"signals", "calibration", "seed"},
            exclude={"signals": {"__all__": {"label", "colour", "control_of"}}},
        )
        return _digest(kept)


def universes_of(study: ResolvedStudy) -> list[Universe]:
    """List the universes of a study.

    The study itself comes first, then each level of each factor on its own, then combinations:
    drawn without replacement, with the seed of the section, among those of all levels that differ
    from the study in two factors or more.

    Parameters
    ----------
    study
        With or without a section ``sensitivity``; without it there is no universe.

    Raises
    ------
    GradbrainError
        A level changes a key that does not exist, that is not its to change, or to a value that
        is not allowed.
    """
    section = study.settings.sensitivity
    if section is None:
        return []
    factors = section.factors
    found = []
    for choice in _choices(factors, section.n_combinations, section.seed):
        universe = _universe(study, factors, choice)
        if universe.signal_set.name != study.signal_set.name:
            _check_name(study, universe.signal_set.name)
        found.append(universe)
    return found


def _choices(
    factors: Sequence[Factor], n_combinations: int, seed: int
) -> Iterator[tuple[int, ...]]:
    """Places of the levels of every universe, one per factor."""
    base = (0,) * len(factors)
    yield base
    for place, factor in enumerate(factors):
        for level in range(1, len(factor.levels)):
            yield (*base[:place], level, *base[place + 1 :])
    sizes = [len(factor.levels) for factor in factors]
    total = math.prod(sizes)
    single = 1 + sum(size - 1 for size in sizes)
    # Numbers stand for combinations in mixed radix, so that no list of all of them is made.
    generator, drawn = random.Random(seed), set[tuple[int, ...]]()
    while len(drawn) < min(n_combinations, total - single):
        choice = _mixed_radix(generator.randrange(total), sizes)
        if sum(level > 0 for level in choice) > 1 and choice not in drawn:
            drawn.add(choice)
            yield choice


def _mixed_radix(number: int, sizes: Iterable[int]) -> tuple[int, ...]:
    digits = []
    for size in sizes:
        number, digit = divmod(number, size)
        digits.append(digit)
    return tuple(digits)


def _universe(study: ResolvedStudy, factors: Sequence[Factor], choice: tuple[int, ...]) -> Universe:
    where = f"{study.source('sensitivity')}: sensitivity"
    signal_set: StrictModel = study.signal_set
    encoding: StrictModel = study.settings.encoding
    statistics: StrictModel = study.settings.statistics
    suffix = []
    for factor, place in zip(factors, choice, strict=True):
        level = factor.levels[place]
        at = f"{where}: {factor.name}: {level.name}"
        if level.signal_set or level.signals:
            suffix.append(level.name)
        signal_set = _with_signals(signal_set, level, at)
        signal_set = _changed(signal_set, level.signal_set, "signal_set", at)
        encoding = _changed(encoding, level.encoding, "encoding", at)
        statistics = _changed(statistics, level.statistics, "statistics", at)
    levels = {
        factor.name: factor.levels[place].name
        for factor, place in zip(factors, choice, strict=True)
    }
    n_changed = sum(place > 0 for place in choice)
    assert isinstance(signal_set, SignalSet)
    assert isinstance(encoding, EncodingSettings)
    assert isinstance(statistics, StatisticsSettings)
    name = ".".join([signal_set.name, *suffix])
    return Universe(
        name=_digest(levels) if n_changed else BASE,
        kind=(BASE, ONE_AT_A_TIME)[n_changed] if n_changed < 2 else COMBINATION,
        levels=levels,
        signal_set=signal_set.model_copy(update={"name": name}),
        encoding=encoding,
        statistics=statistics,
    )


def _changed(
    settings: StrictModel, keys: Mapping[str, Any], section: str, where: str
) -> StrictModel:
    """Settings with some keys replaced, validated as if they stood in the file."""
    if not keys:
        return settings
    model_class = type(settings)
    allowed = [key for key in model_class.model_fields if key not in FIXED[section]]
    for key in keys:
        choose(key, allowed, what=f"key of {section} that a level may change", where=where)
    content = settings.model_dump(mode="json") | dict(keys)
    try:
        return model_class.model_validate(content)
    except ValidationError as error:
        told = describe(model_class, error, content)
        raise GradbrainError(f"{where}: {section}: {told}") from None


def _with_signals(signal_set: StrictModel, level: Level, where: str) -> StrictModel:
    """A signal set of which a level gives some signals other options."""
    if not level.signals:
        return signal_set
    assert isinstance(signal_set, SignalSet)
    names = [signal.name for signal in signal_set.signals]
    for name in level.signals:
        choose(name, names, what=f"signal of {signal_set.name}", where=f"{where}: signals")
    signals = [
        _with_options(signal, level.signals.get(signal.name, {}), f"{where}: signals")
        for signal in signal_set.signals
    ]
    return signal_set.model_copy(update={"signals": tuple(signals)})


def _with_options(signal: SignalEntry, keys: Mapping[str, Any], where: str) -> SignalEntry:
    at = f"{where}: {signal.name}"
    found = {}
    for key, options in keys.items():
        choose(key, SIGNAL_KEYS, what="key of a signal that a level may change", where=at)
        if not isinstance(options, Mapping):
            raise GradbrainError(f"{at}: {key}: expected a mapping, found {options!r}")
        found[key] = {**getattr(signal, key), **options}
    return signal.model_copy(update=found)


def _check_name(study: ResolvedStudy, name: str) -> None:
    if len(name) > MAX_NAME:
        raise GradbrainError(
            f"{study.source('sensitivity')}: sensitivity: levels lead to the signal set {name!r}, "
            f"whose name has {len(name)} characters, more than {MAX_NAME}; give them shorter names"
        )
    if name in study.registries.signal_sets:
        raise GradbrainError(
            f"{study.source('sensitivity')}: sensitivity: a level leads to the signal set "
            f"{name!r}, and {study.registries.place('signal set', name)} has that name; give the "
            "level another name: features are named by their signal sets"
        )


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
