"""Faults of a configuration in the words of its YAML file, from those of pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gradbrain.config.schema import NAME_PATTERN, StrictModel
from gradbrain.config.suggestions import did_you_mean

MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "missing key",
    "tuple_type": "expected a list, e.g. [a, b]",
    "model_type": "expected a mapping, e.g. {name: ...}",
    "dict_type": "expected a mapping, e.g. {name: ...}",
}
#: Characters of a value that a message repeats.
SHOWN = 200
WITHOUT_INPUT = ("extra_forbidden", "missing", "too_short", "too_long")


@dataclass(frozen=True)
class _Place:
    """Where a fault stands.

    Attributes
    ----------
    keys
        Keys as they stand in the file; entries of lists by name, if they have one.
    section
        Class of the mapping that holds the last key, if it is one of ours.
    choice
        Keys down to the innermost value that may be of several kinds; None where there is none.
    """

    keys: tuple[str, ...]
    section: type[StrictModel] | None
    choice: tuple[str, ...] | None

    @property
    def is_inside_choice(self) -> bool:
        """Whether the fault is inside one of the kinds, not that the value is of another kind."""
        return self.choice is not None and len(self.keys) > len(self.choice)


def describe(model_class: type[StrictModel], error: ValidationError, content: Any = None) -> str:
    """Say which keys are wrong, what was found and what is allowed, in one line."""
    return "; ".join(text for _, text in faults_of(model_class, error, content))


def faults_of(
    model_class: type[StrictModel], error: ValidationError, content: Any = None
) -> list[tuple[tuple[str, ...], str]]:
    """List the faults of a mapping.

    Parameters
    ----------
    model_class
        Class that the mapping was validated with.
    error
        What pydantic found.
    content
        The mapping; entries of its lists are called by their names.

    Returns
    -------
    list of (keys, text)
        Keys down to the fault; in words: which key is wrong, what was found and what is allowed.
    """
    faults = [(_locate(model_class, fault["loc"], content), fault) for fault in error.errors()]
    # Of `a: {..}` where a list or a mapping may stand, only what is wrong with the mapping counts.
    chosen = {place.choice for place, _ in faults if place.is_inside_choice}
    # Entries that are wrong do not count as entries, for pydantic: their list is not too short.
    above = {place.keys[:end] for place, _ in faults for end in range(len(place.keys))}
    return [
        (place.keys, ": ".join(filter(None, (".".join(place.keys), _message(place, fault)))))
        for place, fault in faults
        if (place.is_inside_choice or place.choice not in chosen)
        and not (fault["type"] == "too_short" and place.keys in above)
    ]


def _message(place: _Place, fault: ErrorDetails) -> str:
    kind, value, limits = fault["type"], fault["input"], fault.get("ctx", {})
    message = MESSAGES.get(kind, fault["msg"].removeprefix("Value error, "))
    if kind == "missing" and isinstance(fault["loc"][-1], int):
        message = "missing entry"
    if kind == "literal_error":
        message = f"expected {limits['expected']}"
    if kind == "too_short":
        least = limits["min_length"]
        message = f"expected at least {least} {'entry' if least == 1 else 'entries'}"
    if kind == "string_pattern_mismatch" and limits["pattern"] == NAME_PATTERN:
        message = "expected letters, digits and _ . -, with a letter or digit first"
    if kind == "string_too_long":
        message = f"expected no more than {limits['max_length']} characters"
    if kind == "extra_forbidden" and place.section is not None:
        known = list(place.section.model_fields)
        hint = did_you_mean(place.keys[-1], known)
        return f"{message}. Known keys: {', '.join(known)}{f'.{hint}' if hint else ''}"
    # A rule between several keys names them itself; the whole mapping would bury that.
    of_several_keys = kind == "value_error" and isinstance(value, Mapping | StrictModel)
    if kind in WITHOUT_INPUT or of_several_keys:
        return message
    return f"{message}, found {shown(value)}"


def shown(value: Any) -> str:
    """Write a value as it was found, of a long one the beginning."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _locate(
    model_class: type[StrictModel], location: tuple[int | str, ...], content: Any
) -> _Place:
    """Follow a location of pydantic through the annotations; leave out its names of kinds."""
    annotation: Any = model_class
    section: type[StrictModel] | None = None
    choice: tuple[str, ...] | None = None
    keys: tuple[str, ...] = ()
    for part in location:
        kinds = _kinds(annotation)
        if len(kinds) > 1:
            choice = keys
            annotation = next((kind for kind in kinds if _is_called(kind, str(part))), None)
            continue
        if part == "[key]":
            continue
        content = _step(content, part)
        keys = (*keys, _name(part, content))
        section, annotation = _inside(kinds[0], part)
    return _Place(keys, section, choice)


def _step(content: Any, part: int | str) -> Any:
    """What stands under a key or position; None where there is no such thing."""
    if isinstance(part, str):
        return content.get(part) if isinstance(content, Mapping) else None
    return content[part] if isinstance(content, list | tuple) and part < len(content) else None


def _name(part: int | str, entry: Any) -> str:
    """Key of an entry; of an entry of a list the name that it has, else its position."""
    named = isinstance(part, int) and isinstance(entry, Mapping)
    name = entry.get("name") if named else None
    return name if isinstance(name, str) and name else str(part)


def _kinds(annotation: Any) -> list[Any]:
    """Kinds that a value may be of, without none, which adds nothing to a location."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return [kind for kind in get_args(annotation) if kind is not NoneType]
    return [annotation]


def _is_called(kind: Any, name: str) -> bool:
    """Whether pydantic names a kind so: ``LayerCount``, ``tuple[str, ...]``."""
    origin = get_origin(kind)
    return name == getattr(origin or kind, "__name__", "") or (
        origin is not None and name.startswith(f"{getattr(origin, '__name__', origin)}[")
    )


def _inside(annotation: Any, part: int | str) -> tuple[type[StrictModel] | None, Any]:
    """Class of the mapping that has the key, and annotation of what stands under the key."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        field = annotation.model_fields.get(str(part))
        return annotation, None if field is None else field.annotation
    kinds = get_args(annotation)
    if get_origin(annotation) is dict:
        return None, kinds[1]
    # Of tuple[X, ...] and list[X] the kind of the entries; of tuple[X, Y] the first will do.
    return None, kinds[0] if kinds else None
