"""The results of a study as an analyst opens them: tables as pandas, stores as xarray, lazily.

Everything is found by the path templates of :mod:`gradbrain.vocabulary.artefacts`, so that a folder
of results which was copied elsewhere opens without the project.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from gradbrain.config.registries import read_yaml
from gradbrain.config.suggestions import choose
from gradbrain.store.errors import NoSuchStoreError, StoreError
from gradbrain.store.tables import read_tables
from gradbrain.store.zarr_store import open_tree
from gradbrain.vocabulary.artefacts import ARTEFACTS, RESULTS, Artefact, artefact

TABLE_ENDINGS = (".parquet", ".csv")
_OF_STUDY = f"{RESULTS}/{{study}}/"


@dataclass(frozen=True)
class ResultFile:
    """One result.

    Attributes
    ----------
    path
        File, or folder of a store.
    keys
        What the template of its kind calls it, without the study.
    """

    path: Path
    keys: Mapping[str, str]


class Stores(Mapping[Any, Any]):
    """The stores of one kind, opened when they are asked for.

    A store is named by its keys: ``study.responses["s01"]`` where the kind has one key, a tuple in
    their order where it has several. :meth:`open` takes as many of them as tell it from the others.

    Parameters
    ----------
    kind
        As ``docs/artefacts.md`` names it.
    files
        The stores.
    place
        Where they were looked for, for error messages.
    """

    def __init__(self, kind: str, files: Sequence[ResultFile], place: str) -> None:
        self.kind, self._files, self._place = kind, tuple(files), place

    @cached_property
    def index(self) -> pd.DataFrame:
        """A row per store: its keys and its path."""
        keys = [key for key in artefact(self.kind).keys if key != "study"]
        rows = [[*(file.keys[key] for key in keys), file.path] for file in self._files]
        return pd.DataFrame(rows, columns=[*keys, "path"])

    def open(self, **keys: str) -> xr.Dataset | xr.DataTree:
        """Open the one store that has these keys, lazily.

        Parameters
        ----------
        **keys
            E.g. ``model="resnet50", layer="layer1.0"``; those that do not tell stores apart may be
            left out.

        Returns
        -------
        xarray.Dataset or xarray.DataTree
            A tree where the store has groups. Values are read when they are used.

        Raises
        ------
        StoreError
            No store has these keys, or several have; or it is damaged or of another version.
        GradbrainError
            A key does not exist.
        """
        found = _having(self.kind, self._files, keys, self._place)
        if not found:
            raise StoreError(
                f"{self._place}: holds no {self.kind} ({artefact(self.kind).template}) "
                f"{' '.join(f'{key}={value}' for key, value in keys.items())}".rstrip()
            )
        if len(found) > 1:
            raise StoreError(
                f"{self.kind}: {len(found)} stores fit, expected one; name also {_differing(found)}"
            )
        tree = open_tree(found[0].path, kind=self.kind)
        return tree if tree.children else tree.to_dataset()

    def __getitem__(self, key: Any) -> xr.Dataset | xr.DataTree:
        names = [name for name in artefact(self.kind).keys if name != "study"]
        values = (key,) if isinstance(key, str) else tuple(key)
        if len(values) != len(names):
            raise NoSuchStoreError(f"{self.kind}: {key!r}; expected {', '.join(names)}")
        keys = dict(zip(names, values, strict=True))
        if not any(file.keys == keys for file in self._files):
            near = get_close_matches(" ".join(values), [" ".join(k) for k in self._ids()], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise NoSuchStoreError(f"{self._place}: holds no {self.kind} {key!r}{hint}")
        return self.open(**keys)

    def _ids(self) -> list[tuple[str, ...]]:
        return [tuple(file.keys.values()) for file in self._files]

    def __iter__(self) -> Iterator[Any]:
        return iter(values[0] if len(values) == 1 else values for values in self._ids())

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        if not self._files:
            return f"<no {self.kind} in {self._place}>"
        return f"<{len(self)} stores of {self.kind}>\n{self.index.drop(columns='path')}"


@dataclass(frozen=True)
class StudyFigure:
    """A figure that the study drew; a notebook shows it.

    Attributes
    ----------
    name
        As ``figures.names`` of the study has it.
    files
        Ending -> its file: ``pdf``, ``png`` and ``csv``.
    """

    name: str
    files: Mapping[str, Path]

    @property
    def data(self) -> pd.DataFrame:
        """The numbers behind it."""
        return pd.read_csv(self.files["csv"], keep_default_na=False, na_values=[""])

    def _repr_png_(self) -> bytes | None:
        return self.files["png"].read_bytes() if "png" in self.files else None


class Study:
    """The results of one study; :func:`open_study` makes it.

    Nothing is read before it is asked for. Only what the study names is shown: files of models,
    data sets, subjects and layers that it named once and names no more stand in :attr:`left_out`.

    Parameters
    ----------
    folder
        Results of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tables: dict[Any, pd.DataFrame] = {}

    # --- what the study is -----------------------------------------------------------------------

    @cached_property
    def config(self) -> dict[str, Any]:
        """Settings of the study, defaults included.

        Raises
        ------
        GradbrainError
            The folder holds none.
        """
        return read_yaml(self._place("config"))

    @cached_property
    def name(self) -> str:
        """Name of the study; without its settings that which its scores say, or of its folder."""
        if self.has("config"):
            return str(self.config["study"])
        for file in self._all("scores")[:1]:
            said = pd.read_parquet(file.path, columns=["study"])["study"]
            return str(said.iloc[0]) if len(said) else self.folder.name
        return self.folder.name

    def has(self, kind: str) -> bool:
        """Whether the folder holds a result of a kind of which a study has one, e.g. ``config``."""
        return self._place(kind).exists()

    @cached_property
    def entries(self) -> pd.DataFrame:
        """Models, signals, data sets and modalities, with labels and colours; may be empty."""
        path = self._place("entries")
        if not path.exists():
            return pd.DataFrame(columns=list(artefact("entries").column_names))
        return read_tables("entries", [path])

    def _named(self, kind: str) -> list[str]:
        rows = self.entries[self.entries["kind"] == kind]
        return list(dict.fromkeys(rows["name"]))

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of the study."""
        return self._named("model") or sorted({file.keys["model"] for file in self._all("scores")})

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets, in the order of the study."""
        return self._named("dataset") or sorted(self.subjects)

    @property
    def signals(self) -> list[str]:
        """Names of the signals, in the order of the study."""
        return self._named("signal")

    @cached_property
    def _scored(self) -> pd.DataFrame:
        """Which subjects and layers the joined scores hold: columns of the scores, each row once.

        They are those of the study when its scores were joined.
        """
        names = ["dataset", "subject", "model", "layer", "layer_index"]
        files = [file.path for file in self._named_files("scores")]
        parts = [pd.read_parquet(path, columns=names).drop_duplicates() for path in files]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)

    @property
    def subjects(self) -> dict[str, list[str]]:
        """Data set -> its subjects; empty before scores are joined."""
        found = self._scored.drop_duplicates(["dataset", "subject"])
        return {str(name): sorted(rows["subject"]) for name, rows in found.groupby("dataset")}

    def layers(self, model: str) -> list[str]:
        """Layers of a model, from its input to its output; empty before its scores are joined."""
        choose(model, self.models, what="model", where=str(self.folder))
        rows = self._scored[self._scored["model"] == model].sort_values("layer_index")
        return list(dict.fromkeys(rows["layer"]))

    # --- files ----------------------------------------------------------------------------------

    def _place(self, kind: str, **keys: str) -> Path:
        """Path of a result of the study, whatever its folder is called."""
        return self.folder / artefact(kind).path(**keys).removeprefix(_OF_STUDY)

    def _all(self, kind: str) -> list[ResultFile]:
        """All results of a kind that are there, sorted by path."""
        declared = artefact(kind)
        of_study = declared.template.startswith(_OF_STUDY)
        home, prefix = (
            (self.folder, f"{RESULTS}/-/") if of_study else (self.folder.parent, f"{RESULTS}/")
        )
        template = declared.template.removeprefix(_OF_STUDY).removeprefix(f"{RESULTS}/")
        found = []
        for path in sorted(home.glob(re.sub(r"\{\w+\}", "*", template))):
            if path.name.startswith("."):  # what a job is writing
                continue
            keys = declared.keys_of(prefix + path.relative_to(home).as_posix())
            found.append(ResultFile(path, {k: v for k, v in keys.items() if k != "study"}))
        return found

    def _named_files(self, kind: str) -> list[ResultFile]:
        """Those of models and data sets that the study names, in its order."""
        order = {key: self._named(key) for key in ("model", "dataset")}
        kept = [
            file
            for file in self._all(kind)
            if all(file.keys.get(key) in (None, *names) for key, names in order.items() if names)
        ]
        return sorted(
            kept,
            key=lambda file: [
                names.index(file.keys[key]) if names and key in file.keys else 0
                for key, names in order.items()
            ],
        )

    def files(self, kind: str, **keys: str | Iterable[str]) -> list[ResultFile]:
        """Results of one kind, in the study's order of models and data sets.

        Parameters
        ----------
        kind
            As ``docs/artefacts.md`` names it.
        **keys
            Keep those with these keys; several values of a key as a list.

        Raises
        ------
        GradbrainError
            There is no such kind or key; near names are named.
        """
        choose(kind, ARTEFACTS, what="kind of result", where=f"study {self.name!r}")
        found = self._named_files(kind)
        if kind != "scores":
            found = [file for file in found if self._names(file)]
        return _having(kind, found, keys, str(self.folder)) if keys else found

    @cached_property
    def _scored_names(self) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
        """Subjects, and layers by model, that the joined scores hold."""
        layers = {
            str(model): frozenset(rows["layer"]) for model, rows in self._scored.groupby("model")
        }
        return frozenset(self._scored["subject"]), layers

    def _names(self, file: ResultFile) -> bool:
        """Whether the study names the subject and the layer of a file, as far as is known."""
        subjects, layers = self._scored_names
        subject, layer = file.keys.get("subject"), file.keys.get("layer")
        of_model = layers.get(file.keys.get("model", ""), frozenset())
        return (subject is None or not subjects or subject in subjects) and (
            layer is None or not of_model or layer in of_model
        )

    def paths(self, kind: str, **keys: str | Iterable[str]) -> list[Path]:
        """Paths of :meth:`files`."""
        return [file.path for file in self.files(kind, **keys)]

    @property
    def left_out(self) -> list[Path]:
        """Files of the study's folder that it named once and names no more."""
        found: list[Path] = []
        for kind in (kind for kind, item in ARTEFACTS.items() if "study" in item.keys):
            named = set(self.paths(kind))
            found += [file.path for file in self._all(kind) if file.path not in named]
        return found

    @property
    def kinds(self) -> dict[str, int]:
        """Kind of result -> how many of it are there."""
        counts = {kind: len(self.files(kind)) for kind in ARTEFACTS}
        return {kind: count for kind, count in counts.items() if count}

    # --- tables ---------------------------------------------------------------------------------

    def table(self, kind: str, **keys: str | Iterable[str]) -> pd.DataFrame:
        """Read and join the tables of one kind.

        Parameters
        ----------
        kind
            As ``docs/artefacts.md`` names it, which also explains its columns.
        **keys
            Keep rows with these values of a column, e.g. ``signal="activation"``, several as a
            list. Keys of the path choose the files that are read.

        Returns
        -------
        pandas.DataFrame
            Yours to change. Keys of the path that the table has no column for come first.

        Raises
        ------
        StoreError
            There is no such table here, or it is damaged.
        GradbrainError
            The kind is unknown or no table, or has no such column.
        """
        tables = [name for name, item in ARTEFACTS.items() if _is_table(item)]
        choose(kind, tables, what="table", where=f"study {self.name!r}")
        declared = artefact(kind)
        of_path = {name: value for name, value in keys.items() if name in declared.keys}
        rows = self._read(kind, of_path)
        for name, value in keys.items():
            if name in of_path:
                continue
            choose(name, map(str, rows.columns), what="column", where=kind)
            rows = rows[rows[name].isin(_several(value))]
        return rows.copy()

    def _read(self, kind: str, of_path: Mapping[str, str | Iterable[str]]) -> pd.DataFrame:
        place = (kind, *((name, tuple(_several(value))) for name, value in of_path.items()))
        if place not in self._tables:
            files = self.files(kind, **of_path)
            if not files:
                raise StoreError(_missing(kind, self.folder))
            self._tables[place] = read_tables(
                kind, [file.path for file in files], [file.keys for file in files]
            )
        return self._tables[place]

    @property
    def claims(self) -> pd.DataFrame:
        """Every prediction with estimate, interval, tests and verdict."""
        return self.table("claims")

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of all models, layers, signals and subjects per region or time."""
        return self.table("scores")

    @property
    def ceilings(self) -> pd.DataFrame:
        """How well the other subjects predict a subject."""
        return self.table("ceilings")

    @property
    def hierarchy(self) -> pd.DataFrame:
        """Statistics of each subject that claims are made of."""
        return self.table("hierarchy")

    @property
    def time_courses(self) -> pd.DataFrame:
        """Times at which each layer is above chance."""
        return self.table("time_courses")

    # --- stores ---------------------------------------------------------------------------------

    def stores(self, kind: str, **keys: str | Iterable[str]) -> Stores:
        """Stores of one kind, opened when they are asked for.

        Raises
        ------
        GradbrainError
            The kind is unknown or no store, or has no such key.
        """
        names = [name for name, item in ARTEFACTS.items() if item.is_store]
        choose(kind, names, what="store", where=f"study {self.name!r}")
        of_study = artefact(kind).template.startswith(_OF_STUDY)
        place = self.folder if of_study else self.folder.parent
        return Stores(kind, self.files(kind, **keys), str(place))

    @property
    def responses(self) -> Stores:
        """Responses by subject."""
        return self.stores("responses")

    @property
    def maps(self) -> Stores:
        """Scores and best layers per target, averaged over subjects, by model."""
        return self.stores("maps")

    @property
    def encoding(self) -> Stores:
        """Scores per target with draws, by model, layer and subject."""
        return self.stores("encoding")

    @property
    def features(self) -> Stores:
        """Activations and signals by model, layer, signal set and stimulus set.

        Studies share them: they lie beside the folder of the study.
        """
        return self.stores("features")

    # --- figures --------------------------------------------------------------------------------

    @property
    def figures(self) -> dict[str, StudyFigure]:
        """Figures that the study drew, by name."""
        found: dict[str, dict[str, Path]] = {}
        for file in self.files("figure"):
            found.setdefault(file.keys["figure"], {})[file.keys["ending"]] = file.path
        return {name: StudyFigure(name, files) for name, files in found.items()}

    @property
    def report(self) -> Path:
        """The report of the study, a page for a browser.

        Raises
        ------
        StoreError
            It has not been written.
        """
        path = self._place("report")
        if not path.exists():
            raise StoreError(_missing("report", self.folder))
        return path

    def __repr__(self) -> str:
        kinds = self.kinds
        rows = {
            "folder": str(self.folder),
            "data sets": ", ".join(self._describe_dataset(name) for name in self.datasets),
            "models": ", ".join(self._describe_model(name) for name in self.models),
            "signals": ", ".join(self.signals),
            "claims": self._describe_claims() if "claims" in kinds else "not tested yet",
            "tables": _counted(kinds, lambda item: _is_table(item)),
            "stores": _counted(kinds, lambda item: item.is_store),
            "figures": ", ".join(self.figures),
        }
        title = self.config.get("title", "") if self._place("config").exists() else ""
        lines = [f"<Study {self.name!r}{': ' if title else ''}{title}>"]
        lines += [f"  {name:<10} {text or '(none)'}" for name, text in rows.items()]
        if self.left_out:
            lines.append(f"  left out   {len(self.left_out)} files that the study names no more")
        lines.append('  Read them by study.table("scores") and study.stores("maps").')
        return "\n".join(lines)

    def _describe_dataset(self, name: str) -> str:
        count = len(self.subjects.get(name, ()))
        return f"{name} ({count} subject{'' if count == 1 else 's'})" if count else name

    def _describe_model(self, name: str) -> str:
        count = len(self.layers(name))
        return f"{name} ({count} layer{'' if count == 1 else 's'})" if count else name

    def _describe_claims(self) -> str:
        counts = Counter(self.claims["verdict"])
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        return f"{sum(counts.values())}: {said}"


def open_study(folder: str | os.PathLike[str]) -> Study:
    """Open the results of a study.

    Parameters
    ----------
    folder
        Results of one study, such as ``results/demo``; here or copied elsewhere. Features and
        stimulus sets, which studies share, are looked for beside it.

    Returns
    -------
    Study
        Nothing is read before it is asked for.

    Raises
    ------
    StoreError
        There is no such folder, or it holds no results of a study; studies nearby are named.
    """
    path = Path(folder).expanduser()
    if path.is_dir() and _holds_results(path):
        # Absolute, so that it stays right where the working directory changes.
        return Study(path.resolve())
    state = "holds no results of a study" if path.is_dir() else "there is no such folder"
    around = path if path.is_dir() else path.parent
    near = [item for item in sorted(around.glob("*")) if _holds_results(item)]
    hint = f"; there is {', '.join(map(str, near))}" if near else ""
    raise StoreError(f"{path}: {state}; expected e.g. {RESULTS}/demo{hint}")


def _holds_results(folder: Path) -> bool:
    signs = ("config", "entries", "claims", "scores", "responses", "encoding")
    return folder.is_dir() and any(Study(folder)._all(kind) for kind in signs)


def _is_table(item: Artefact) -> bool:
    return bool(item.columns) and item.template.endswith(TABLE_ENDINGS)


def _counted(kinds: Mapping[str, int], wanted: Any) -> str:
    chosen = {kind: count for kind, count in kinds.items() if wanted(ARTEFACTS[kind])}
    return ", ".join(
        f"{kind} ({count})" if count > 1 else kind for kind, count in sorted(chosen.items())
    )


def _several(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)


def _missing(kind: str, folder: Path) -> str:
    declared = artefact(kind)
    template = declared.template.removeprefix(_OF_STUDY)
    return (
        f"{folder}: holds no {kind} ({template}), which the rule {declared.rule} makes where the "
        "study asks for it: run the study, or copy that part of its results as well"
    )


def _having(
    kind: str, files: Sequence[ResultFile], keys: Mapping[str, str | Iterable[str]], place: str
) -> list[ResultFile]:
    """Files that have some keys; each value must occur."""
    names = [key for key in artefact(kind).keys if key != "study"]
    found = list(files)
    for name, value in keys.items():
        choose(name, names, what="key", where=kind)
        there = sorted({file.keys[name] for file in files})
        if not there:
            raise StoreError(f"{place}: holds no {kind} ({artefact(kind).template})")
        for one in _several(value):
            choose(one, there, what=name, where=f"{kind} in {place}")
        found = [file for file in found if file.keys[name] in _several(value)]
    return found


def _differing(files: Sequence[ResultFile]) -> str:
    """Keys that tell some files apart, with their values."""
    values: dict[str, list[str]] = {}
    for file in files:
        for key, value in file.keys.items():
            values.setdefault(key, [])
            if value not in values[key]:
                values[key].append(value)
    return (
        "; ".join(f"{key}: {', '.join(v)}" for key, v in values.items() if len(v) > 1) or "(none)"
    )
