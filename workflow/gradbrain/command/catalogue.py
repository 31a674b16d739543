"""What there is to choose from: registry entries, plug-ins and kinds of results."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from gradbrain.config.plugins import HOMES, NAMES, Kind, Plugin, Plugins, weights_use
from gradbrain.config.registries import Kind as EntryKind
from gradbrain.config.registries import Registries
from gradbrain.config.suggestions import choose
from gradbrain.figures.declarations import declaration
from gradbrain.vocabulary.artefacts import ARTEFACTS

#: Kind, as the command line names it -> what it is.
KINDS: Mapping[str, str] = {
    "models": "models",
    "datasets": "data sets",
    "modalities": "kinds of recordings",
    "signals": "signals",
    "signal-sets": "signal sets",
    "objectives": "objectives",
    "rules": "credit-assignment rules",
    "adapters": "adapters of data sets",
    "weights": "sources of weights",
    "figures": "figures",
    "artefacts": "kinds of results",
}
#: What one is called in messages.
ONE_OF: Mapping[str, str] = {
    "models": "model",
    "datasets": "data set",
    "modalities": "modality",
    "signals": "signal",
    "signal-sets": "signal set",
    "artefacts": "kind of result",
    **cast(Mapping[str, str], NAMES),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Catalogue:
    """Lists and describes what studies can name.

    Attributes
    ----------
    registries
        Where entries are looked up.
    plugins
        Where plug-ins are looked up.
    """

    registries: Registries
    plugins: Plugins

    def names(self, kind: str) -> list[str]:
        """Names of all of a kind."""
        if kind in HOMES:
            return self.plugins.names(cast(Kind, kind))
        if kind == "artefacts":
            return list(ARTEFACTS)
        entries: Mapping[str, tuple[str, ...]] = {
            "models": self.registries.models,
            "datasets": self.registries.datasets,
            "modalities": self.registries.modalities,
            "signals": self.registries.signals,
            "signal-sets": self.registries.signal_sets,
        }
        return list(entries[kind])

    def rows(self, kind: str) -> list[Row]:
        """One row for each of a kind.

        Raises
        ------
        GradbrainError
            An entry is wrong; its file and key are named.
        """
        makers: Mapping[str, Callable[[str], Row]] = {
            "models": self._model_row,
            "datasets": self._dataset_row,
            "modalities": self._modality_row,
            "signals": self._signal_row,
            "signal-sets": self._set_row,
            "figures": self._figure_row,
            "artefacts": self._artefact_row,
        }
        make = makers.get(kind, lambda name: self._plugin_row(cast(Kind, kind), name))
        return [{"name": name, **make(name)} for name in self.names(kind)]

    def details(self, kind: str, name: str) -> Row:
        """All that is known of one.

        Raises
        ------
        GradbrainError
            There is none of that name; near names are named.
        """
        choose(name, self.names(kind), what=ONE_OF[kind], where=f"gradbrain {kind}")
        if kind == "artefacts":
            return _filled(asdict(ARTEFACTS[name]))
        if kind == "figures":
            return self._figure_details(name)
        if kind in HOMES:
            return self._plugin_details(self.plugins.find(cast(Kind, kind), name, where=kind))
        return self._entry_details(kind, name)

    # --- entries --------------------------------------------------------------------------------

    def _model_row(self, name: str) -> Row:
        entry = self.registries.model(name, where="gradbrain")
        options = weights_use(entry, self.plugins, where=name).options
        return {
            "architecture": entry.architecture,
            "weights": entry.weights.source,
            "trained": "yes" if options.trained else "no",
            "px": entry.input_size,
            "licence": entry.licence,
        }

    def _dataset_row(self, name: str) -> Row:
        entry = self.registries.dataset(name, where="gradbrain")
        return {
            "modality": entry.modality.name if entry.modality else "(images)",
            "subjects": len(entry.subjects),
            "adapter": entry.adapter,
            "label": entry.label,
        }

    def _modality_row(self, name: str) -> Row:
        entry = self.registries.modality(name, where="gradbrain")
        return {"axis": entry.axis, "label": entry.label}

    def _signal_row(self, name: str) -> Row:
        entry = self.registries.signal(name, where="gradbrain")
        return {"role": entry.role, "rule": entry.rule, "objective": entry.objective or ""}

    def _set_row(self, name: str) -> Row:
        entry = self.registries.signal_set(name, where="gradbrain")
        return {"signals": ", ".join(signal.name for signal in entry.signals)}

    def _entry_details(self, kind: str, name: str) -> Row:
        readers: Mapping[str, Any] = {
            "models": self.registries.model,
            "datasets": self.registries.dataset,
            "modalities": self.registries.modality,
            "signals": self.registries.signal,
            "signal-sets": self.registries.signal_set,
        }
        entry = readers[kind](name, where="gradbrain")
        found = _filled(entry.model_dump(mode="json"))
        if kind == "datasets":
            link = Path("data") / name
            found["here"] = str(link.resolve()) if link.exists() else f"no {link}"
        if kind == "models" and entry.architecture in self.registries.architectures:
            layers = self.registries.layers(entry.architecture, where=name)
            found["layers"] = [layer.name for layer in layers]
        word = cast(EntryKind, ONE_OF[kind])
        return {**found, "listed_in": self.registries.place(word, name).rpartition(": ")[0]}

    # --- plug-ins -------------------------------------------------------------------------------

    def _plugin_row(self, kind: Kind, name: str) -> Row:
        plugin = self.plugins.find(kind, name, where=kind)
        return {"what": _docstring(plugin).partition("\n")[0].rstrip(".")}

    def _plugin_details(self, plugin: Plugin) -> Row:
        options = plugin.options_class
        schema = options.model_json_schema()
        return {
            "name": plugin.name,
            "file": str(plugin.path),
            "what": _docstring(plugin),
            "options": _options(schema, schema.get("$defs", {})),
            "requires": sorted(options.requires),
            "randomness": dict(options.randomness),
        }

    def _figure_row(self, name: str) -> Row:
        declared = declaration(name, self.plugins)
        return {"reads": ", ".join(declared.reads), "title": declared.title}

    def _figure_details(self, name: str) -> Row:
        declared = declaration(name, self.plugins)
        return {
            "name": name,
            "title": declared.title,
            "file": str(declared.plugin.path),
            "reads": list(declared.reads),
            "of data along": list(declared.axes),
            "spaces": list(declared.spaces) or "any",
            "caption": declared.caption.read_text(encoding="utf-8"),
        }

    @staticmethod
    def _artefact_row(name: str) -> Row:
        item = ARTEFACTS[name]
        return {"rule": item.rule, "path": item.template}


def _options(schema: Mapping[str, Any], sections: Mapping[str, Any]) -> Row:
    """Meaning and default of each option; those of a section stand below it."""
    found = {}
    for key, field in schema.get("properties", {}).items():
        section = sections.get(field.get("$ref", "").rpartition("/")[2], {})
        about = field.get("description") or section.get("description", "").partition("\n")[0]
        found[key] = {"meaning": about}
        if section.get("properties"):
            found[key]["options"] = _options(section, sections)
        elif key not in schema.get("required", []):
            found[key]["default"] = field.get("default")
    return found


def _docstring(plugin: Plugin) -> str:
    return ast.get_docstring(ast.parse(plugin.path.read_text(encoding="utf-8"))) or ""


def _filled(value: Any) -> Any:
    """A nested mapping without what is empty."""
    if isinstance(value, Mapping):
        kept = {key: _filled(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if not _is_empty(item)}
    if isinstance(value, list | tuple):
        return [_filled(item) for item in value]
    return value


def _is_empty(value: Any) -> bool:
    # Zero says something.
    return value is None or value is False or (hasattr(value, "__len__") and not len(value))
