"""YAML files that people write, read strictly: nothing in them is dropped without a word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gradbrain.config.errors import GradbrainError

#: Registries of hundreds of entries have some 100 kB.
MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64
#: Values of a file, each as often as an alias repeats it.
MAX_VALUES = 1_000_000
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    """Refuses keys that are no texts or there twice, deep nesting, and aliases that multiply."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, and count the values that it stands for."""
        event = self.peek_event()
        if self._depth >= MAX_DEPTH:
            raise _fault(f"is nested more than {MAX_DEPTH} levels deep", event.start_mark)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _fault(f"the alias *{event.anchor} refers to itself", event.start_mark)
        elif node is not None:
            self._sizes[id(node)] = size = self._size(node)
            if size > MAX_VALUES:
                raise _fault(f"holds more than {MAX_VALUES:,} values", node.start_mark)
        return node

    def _size(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.SequenceNode):
            return 1 + sum(self._sizes[id(item)] for item in node.value)
        if isinstance(node, yaml.MappingNode):
            return 1 + sum(self._sizes[id(value)] for _, value in node.value)
        return 1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, and look at its keys."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag == MERGE:
                continue
            if key.tag != TEXT:
                kind = key.tag.rpartition(":")[2]
                found = f"{key.value} ({kind})" if isinstance(key.value, str) else f"a {kind}"
                raise _fault(
                    f'a key is {found}, expected a text; write it in quotes, e.g. "1":',
                    key.start_mark,
                )
            if key.value in seen:
                raise _fault(
                    f"the key {key.value!r} is there twice, of which only the last would count; "
                    "leave one out",
                    key.start_mark,
                )
            seen.add(key.value)
        return node


class _Fault(yaml.MarkedYAMLError):  # type: ignore[misc]
    """Valid YAML that is refused nevertheless."""


def _fault(text: str, mark: Any) -> _Fault:
    return _Fault(problem=text, problem_mark=mark)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises
    ------
    GradbrainError
        It is not there, no file, may not be read, too large or in another encoding.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_BYTES:
            raise GradbrainError(
                f"{path}: has {n_bytes / 2**20:,.0f} MiB, expected no more than "
                f"{MAX_BYTES >> 20}; is it the file that was meant?"
            )
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise GradbrainError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise GradbrainError(
            f"{path}, line {line}: is not in UTF-8 (byte 0x{error.object[error.start]:02x}); save "
            "it in UTF-8"
        ) from None
    except (OSError, ValueError) as error:  # a folder, no permission, an impossible name
        if isinstance(error, GradbrainError):
            raise
        raise GradbrainError(f"{path}: cannot be read ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def is_folder(path: str | Path) -> bool:
    """Whether a path, however odd, is that of a folder that can be reached."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long, no permission
        return False


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    GradbrainError
        It cannot be read, is no YAML or no mapping, has a key twice or one that is no text, or is
        nested or repeats itself without measure.
    """
    try:
        content = yaml.load(read_text(path), Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}, line {mark.line + 1}" if mark is not None else f"{path}"
        problem = " ".join(filter(None, (error.problem, error.context)))
        valid = isinstance(error, _Fault)
        raise GradbrainError(
            f"{place}: {problem if valid else f'is not valid YAML: {problem}'}"
        ) from None
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise GradbrainError(f"{path}: is not valid YAML: {told}") from None
    except GradbrainError:
        raise
    except (ValueError, OverflowError, RecursionError) as error:  # 2026-13-45, 1e999 as an int
        raise GradbrainError(f"{path}: holds a value that cannot be read ({error})") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise GradbrainError(f"{path}: expected a mapping, found {found}")
    return content


def check_keys(content: Mapping[Any, Any], *, where: str) -> None:
    """Refuse a mapping with keys that are no texts, or of more than any file may hold.

    Parameters
    ----------
    content
        A mapping that was read elsewhere, e.g. by Snakemake from its command line.
    where
        Where it came from, for the error.

    Raises
    ------
    GradbrainError
        Names the key and how to write it.
    """
    stack: list[tuple[tuple[str, ...], Any]] = [((), content)]
    n_values = 0
    while stack:
        keys, value = stack.pop()
        n_values += 1
        if n_values > MAX_VALUES:
            raise GradbrainError(f"{where}: holds more than {MAX_VALUES:,} values")
        if len(keys) > MAX_DEPTH:
            raise GradbrainError(
                f"{where}: {'.'.join(keys[:3])}: is nested more than {MAX_DEPTH} levels deep"
            )
        if isinstance(value, Mapping):
            for key, item in value.items():
                if not isinstance(key, str):
                    place = ".".join([*keys, str(key)])
                    raise GradbrainError(
                        f"{where}: {place}: the key is {key!r} ({type(key).__name__}), expected a "
                        f'text; write it in quotes: "{key}":'
                    )
                stack.append(((*keys, key), item))
        elif isinstance(value, list | tuple):
            stack.extend(((*keys, str(place)), item) for place, item in enumerate(value))
