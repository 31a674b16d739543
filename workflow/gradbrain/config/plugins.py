"""Plug-ins: modules that are found by name, in the library and in folders that a study names.

There are five kinds: credit-assignment rules, objectives, adapters of data sets, figures, and
sources of weights. Each is one module, which defines a class ``Options`` (but for figures) with
what may be said of it in YAML, what it needs, and which of its randomness is what. That class is
evaluated from the source of the module without running the rest of it, so that planning validates
the options of an objective without importing torch.

A study names folders of its own by ``plugins: [my_folder]``; a plug-in lies in the sub-folder of
its kind, e.g. ``my_folder/objectives/my_objective.py``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from gradbrain.config.errors import GradbrainError
from gradbrain.config.faults import describe
from gradbrain.config.schema import (
    Cotangents,
    LayerLayout,
    ModelEntry,
    Normalise,
    SignalEntry,
    SignalSet,
    StrictModel,
    WeightsKind,
)
from gradbrain.config.suggestions import choose
from gradbrain.config.yaml_files import is_folder
from gradbrain.vocabulary.roles import Role

LIBRARY = Path(__file__).resolve().parents[2]
PACKAGE = "gradbrain"
# Packages that planning must not import, and whose names no `Options` class needs.
HEAVY = frozenset({"torch", "timm", "torchvision", "transformers", "matplotlib", "nilearn", "mne"})

Kind = Literal["rules", "objectives", "adapters", "figures", "weights"]
#: Kind -> package of the library that holds its modules.
HOMES: Mapping[Kind, str] = {
    "rules": "gradbrain.signals",
    "objectives": "gradbrain.objectives",
    "adapters": "gradbrain.datasets",
    "figures": "gradbrain.figures",
    "weights": "gradbrain.models.sources",
}
#: Kind -> what a module must define at its top level to be one.
MARKS: Mapping[Kind, tuple[str, ...]] = {
    "rules": ("Options", "Rule"),
    "objectives": ("Options", "Objective"),
    "adapters": ("Options", "ImageOptions", "Adapter"),
    "figures": ("TITLE", "INPUTS", "AXES", "SPACES", "select", "figure"),
    "weights": ("Options", "load"),
}
#: Kind -> what one is called in messages.
NAMES: Mapping[Kind, str] = {
    "rules": "rule",
    "objectives": "objective",
    "adapters": "adapter",
    "figures": "figure",
    "weights": "source of weights",
}

#: What a plug-in may need; planning takes inputs, memory and units of jobs from it.
Requirement = Literal[
    "objective",  # of a rule: the signal names an objective
    "graph",  # the forward pass keeps its graph
    "image_graph",  # that graph starts at the images, and not at the first layer
    "other_weights",  # that graph can be walked back through other weights than the network's
    "chain",  # all layers of the model in one pass, whichever of them are stored
    "fit",  # a model of its own, fitted on calibration images by a job of its own
    "calibration",  # calibration images
    "labels",  # class labels are used where images have them
    "captions",  # captions of the stimuli
    "calibration_captions",  # captions of the calibration images
    "text_tower",  # the text half of the model
    "decoder",  # the network gives images back
]
#: ``monte_carlo``: an estimate of something that another draw would estimate as well (views, masks,
#: perturbations), so that its error can be measured and averaged out. ``identity``: part of what
#: the signal is (a random vector, a permutation, feedback weights); another draw is a replicate.
Randomness = Literal["monte_carlo", "identity"]


@dataclass(frozen=True)
class PluginUse:
    """One plug-in with its options, as an entry or another plug-in names it."""

    kind: Kind
    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class RuleCase:
    """What registries and study say of one use of a rule on one network, known before any job.

    Attributes
    ----------
    role
        What the signal is taken for.
    normalise
        How it is scaled.
    learned_by
        Rule that trained the network; ``""`` where its weights are random.
    precision
        Of the extraction.
    layouts
        How the layers of the whole chain lay out their outputs, in order of depth; None where
        ``layers.csv`` does not say.
    weights
        Whether the network's kernels are its parameters; None as for `layouts`.
    own_inverses
        Whether the network has, for each of its layers, another that leads back from it.
    """

    role: Role
    normalise: Normalise
    learned_by: str = ""
    precision: str = "fp32"
    layouts: tuple[LayerLayout | None, ...] = ()
    weights: WeightsKind | None = None
    own_inverses: bool = False


class PluginOptions(StrictModel):
    """Options of a plug-in: what YAML may say of it, and what follows for planning.

    Attributes
    ----------
    requires
        What every use of the plug-in needs.
    randomness
        Source of randomness -> whether it is Monte-Carlo error or identity.
    length_matters
        Of a rule: what it says of an image lies in the length of the signal, so that a signal
        scaled to unit length says nothing of it.
    gives_residual
        Of a rule: it solves for its signal step by step, and says how far it came.
    """

    requires: ClassVar[frozenset[Requirement]] = frozenset()
    randomness: ClassVar[Mapping[str, Randomness]] = {}
    length_matters: ClassVar[bool] = False
    gives_residual: ClassVar[bool] = False

    def needs(self, inner: frozenset[Requirement] = frozenset()) -> frozenset[Requirement]:
        """What a use with these options needs, given what the plug-ins inside it need."""
        return self.requires | inner

    def uses(self) -> Sequence[PluginUse]:
        """Plug-ins that are used inside this one, with their options."""
        return ()

    def refusal(self, case: RuleCase) -> str:
        """Why a rule does not work in a case, and what to do; empty where it works."""
        return ""

    def approximation(self, case: RuleCase) -> str:
        """What of the rule as published is approximated in a case; empty: nothing."""
        return ""

    def extra_forward_passes(self) -> float:
        """Forward passes per image besides that of the image itself, for estimates of cost."""
        return 0.0

    def backward_passes(self) -> float:
        """Backward passes per image through the whole network, for estimates of cost."""
        return 1.0 if "graph" in self.requires else 0.0


class NoOptions(PluginOptions):
    """Options of a plug-in that has none."""


class WeightsOptions(PluginOptions):
    """Options of a source of weights.

    Attributes
    ----------
    trained
        Whether the weights were learnt; untrained networks are controls.
    """

    trained: ClassVar[bool] = True

    @property
    def learned_by(self) -> str:
        """Rule that they were learnt by; empty where they were not."""
        return "backprop" if self.trained else ""

    def training_images(self) -> str:
        """Stimulus set that a job of the study trains the network on; empty: none does."""
        return ""

    def training_passes(self) -> float:
        """Forward passes of single images that such a job costs as much as, for estimates."""
        return 0.0

    def network_name(self, entry: ModelEntry) -> str:
        """Name under which the network is created; a timm tag in it brings settings of its own."""
        return entry.architecture

    def required_files(self, entry: ModelEntry) -> tuple[str, ...]:
        """Files below ``data/`` that the weights need."""
        return ()

    def optional_files(self, entry: ModelEntry) -> tuple[str, ...]:
        """Files below ``data/`` that are taken where they lie there."""
        return ()

    def missing_packages(self, entry: ModelEntry) -> tuple[str, ...]:
        """What keeps installed packages from giving the weights, one sentence each."""
        return ()


@dataclass(frozen=True)
class Plugin:
    """A module that was found, not yet imported.

    Attributes
    ----------
    kind, name
        What it is, and how YAML names it.
    path
        Its file.
    module
        Name under which it is imported.
    """

    kind: Kind
    name: str
    path: Path
    module: str

    @property
    def in_library(self) -> bool:
        """Whether it is part of the library and not of a folder of the study."""
        return self.path.is_relative_to(LIBRARY)

    def literals(self) -> dict[str, Any]:
        """Assignments of capital names to literals at its top level."""
        return _literals(self.path)

    @property
    def options_class(self) -> type[PluginOptions]:
        """Its ``Options``, evaluated without importing the module where that can be done."""
        found = declared_class(self.path, self.module, "Options")
        if found is None:
            found = self.load().Options
        return found

    def options(self, content: Mapping[str, Any], *, where: str) -> Any:
        """Validate options; `where` names the file and entry that give them.

        Raises
        ------
        GradbrainError
            An option is unknown, missing or of the wrong kind; the allowed ones are named.
        """
        options_class = self.options_class
        try:
            return options_class.model_validate(dict(content))
        except ValidationError as error:
            faults = describe(options_class, error, content)
            raise GradbrainError(f"{where}: {NAMES[self.kind]} {self.name!r}: {faults}") from None

    def load(self) -> ModuleType:
        """Import the module.

        Raises
        ------
        GradbrainError
            It cannot be imported, or lacks what its kind must define.
        """
        module = _import(self.path, self.module)
        missing = [name for name in MARKS[self.kind] if not hasattr(module, name)]
        if missing:
            raise GradbrainError(f"{self.path}: {self._lacks(missing)}")
        return module

    def _lacks(self, missing: Iterable[str]) -> str:
        return (
            f"lacks {', '.join(missing)}; a module of {self.kind}/ defines "
            f"{', '.join(MARKS[self.kind])}"
        )

    def check(self) -> None:
        """Refuse a module that lacks what its kind must define, without importing it."""
        missing = [name for name in MARKS[self.kind] if name not in _defined(self.path)]
        if missing:
            raise GradbrainError(f"{self.path}: {self._lacks(missing)}")


@dataclass(frozen=True)
class ResolvedUse:
    """A plug-in with validated options, and those that are used inside it."""

    plugin: Plugin
    options: Any
    inner: tuple[ResolvedUse, ...] = ()

    @property
    def key(self) -> str:
        """Name and options, defaults included: uses that share it are the same."""
        return f"{self.plugin.name} {self.options.model_dump_json()}"

    @property
    def passes_more(self) -> bool:
        """Whether it passes more than the images themselves, or one inside it does."""
        return self.options.extra_forward_passes() > 0 or any(
            item.passes_more for item in self.inner
        )

    @property
    def needs(self) -> frozenset[Requirement]:
        """What this use needs, inner ones included."""
        of_inner = frozenset[Requirement]().union(*(item.needs for item in self.inner))
        return self.options.needs(of_inner)

    @property
    def randomness(self) -> dict[str, Randomness]:
        """Sources of randomness, those of inner uses included."""
        found: dict[str, Randomness] = dict(self.options.randomness)
        for item in self.inner:
            found |= item.randomness
        return found

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Its plug-in and all inside it."""
        return (self.plugin, *(plugin for item in self.inner for plugin in item.plugins))


class Plugins:
    """The plug-ins of the library, and of folders or files beside it.

    Parameters
    ----------
    folders
        Folders with sub-folders ``rules``, ``objectives``, ``adapters``, ``figures``, ``weights``.
    files
        Single modules in such sub-folders: what a job is told that it uses.

    Raises
    ------
    GradbrainError
        A folder does not exist or holds no such sub-folder, or a name is there twice.
    """

    def __init__(
        self, folders: Iterable[str | Path] = (), files: Iterable[str | Path] = ()
    ) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self._extra: dict[tuple[str, str], Plugin] = {}
        for folder in self.folders:
            self._add_folder(folder)
        for file in map(Path, files):
            self._add(file)

    def _add_folder(self, folder: Path) -> None:
        if not is_folder(folder):
            raise GradbrainError(f"plugins: there is no folder {folder}")
        parts = [folder / kind for kind in HOMES if (folder / kind).is_dir()]
        if not parts:
            raise GradbrainError(
                f"plugins: {folder} holds none of the folders {', '.join(HOMES)}; a plug-in lies "
                f"in the one of its kind, e.g. {folder}/objectives/my_objective.py"
            )
        for part in parts:
            for file in sorted(part.glob("[!_.]*.py")):
                self._add(file)

    def _add(self, file: Path) -> None:
        kind = next((kind for kind in HOMES if kind == file.parent.name), None)
        if kind is None:
            raise GradbrainError(
                f"{file}: a plug-in lies in a folder named after its kind: {', '.join(HOMES)}"
            )
        if not file.is_file():
            raise GradbrainError(f"{file}: there is no such plug-in")
        name = file.stem
        twin = self._extra.get((kind, name)) or _library(kind).get(name)
        if twin is not None and twin.path.resolve() != file.resolve():
            raise GradbrainError(
                f"{file}: there is another {NAMES[kind]} {name!r} in {twin.path}; names results "
                "follow from, so give the module another name"
            )
        module = f"gradbrain_plugins.{kind}.{name}"
        self._extra[kind, name] = Plugin(kind, name, file, module)

    def names(self, kind: Kind) -> list[str]:
        """Names of all plug-ins of a kind, sorted."""
        own = [name for of_kind, name in self._extra if of_kind == kind]
        return sorted([*_library(kind), *own])

    def find(self, kind: Kind, name: str, *, where: str) -> Plugin:
        """Find a plug-in by name; `where` names the file and key that ask for it.

        Raises
        ------
        GradbrainError
            There is none of that name; near names are named.
        """
        found = self._extra.get((kind, name)) or _library(kind).get(name)
        if found is None:
            choose(name, self.names(kind), what=NAMES[kind], where=where)
            raise AssertionError(name)  # choose has raised
        found.check()
        return found

    def resolve(self, use: PluginUse, *, where: str) -> ResolvedUse:
        """Find a plug-in and all that are used inside it, and validate their options.

        Raises
        ------
        GradbrainError
            One does not exist, or an option of one is wrong.
        """
        plugin = self.find(use.kind, use.name, where=where)
        options = plugin.options(use.options, where=where)
        inside = f"{where}: inside {use.name}"
        inner = tuple(self.resolve(item, where=inside) for item in options.uses())
        return ResolvedUse(plugin, options, inner)


@cache
def _library(kind: Kind) -> dict[str, Plugin]:
    home = HOMES[kind]
    folder = LIBRARY.joinpath(*home.split("."))
    wanted = set(MARKS[kind])
    return {
        file.stem: Plugin(kind, file.stem, file, f"{home}.{file.stem}")
        for file in sorted(folder.glob("[!_]*.py"))
        if wanted <= set(_defined(file))
    }


@cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise GradbrainError(f"{path}: is not valid Python: {error}") from None


def _binds(node: ast.stmt) -> dict[str, ast.stmt]:
    """Names that one statement at the top level of a module defines or imports."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name: node}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0]: node for alias in node.names}
    if isinstance(node, ast.Assign):
        return {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id: node}
    return {}


@cache
def _bindings(path: Path) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in _tree(path).body:
        found |= _binds(node)
    return found


def _defined(path: Path) -> Collection[str]:
    return _bindings(path).keys()


def _literals(path: Path) -> dict[str, Any]:
    found = {}
    for name, node in _bindings(path).items():
        if name.isupper() and isinstance(node, ast.Assign):
            try:
                found[name] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


# --- what entries use ------------------------------------------------------------------------


def signal_uses(signal: SignalEntry, plugins: Plugins, *, where: str) -> tuple[ResolvedUse, ...]:
    """Rule and objective of a signal, their options validated.

    Parameters
    ----------
    signal
        Entry of signals.yaml.
    plugins
        Where rules and objectives are looked up.
    where
        File and name of the entry.

    Raises
    ------
    GradbrainError
        One does not exist, an option is wrong, the rule needs an objective and the entry names
        none, or the entry names one that the rule does not read.
    """
    rule = plugins.resolve(
        PluginUse("rules", signal.rule, signal.rule_options), where=f"{where}: rule"
    )
    needs_objective = "objective" in rule.needs
    if needs_objective != (signal.objective is not None):
        state = "needs one" if needs_objective else "reads none"
        raise GradbrainError(
            f"{where}: objective: rule {signal.rule!r} {state}, found {signal.objective!r}; "
            f"objectives are {', '.join(plugins.names('objectives'))}"
        )
    if signal.objective is None:
        return (rule,)
    use = PluginUse("objectives", signal.objective, signal.options)
    return rule, plugins.resolve(use, where=f"{where}: objective")


def viewing_objectives(signals: Iterable[SignalEntry], plugins: Plugins) -> tuple[ResolvedUse, ...]:
    """Objectives of signals that pass more than the images, such as views of them, each once.

    One that uses such an objective inside counts: it looks at views of calibration images.
    """
    found: dict[str, ResolvedUse] = {}
    for signal in signals:
        for use in signal_uses(signal, plugins, where=f"signal {signal.name!r}"):
            if use.plugin.kind == "objectives" and use.passes_more:
                found.setdefault(use.key, use)
    return tuple(found.values())


def signal_needs(
    signal: SignalEntry, plugins: Plugins, *, where: str = "signals.yaml"
) -> frozenset[Requirement]:
    """What a signal needs: of its rule, its objective and those inside it."""
    uses = signal_uses(signal, plugins, where=f"{where}: signal {signal.name!r}")
    return frozenset[Requirement]().union(*(use.needs for use in uses))


def set_needs(signal_set: SignalSet, plugins: Plugins) -> frozenset[Requirement]:
    """What any signal of a set needs."""
    needs = (signal_needs(signal, plugins) for signal in signal_set.signals)
    return frozenset[Requirement]().union(*needs)


def signal_randomness(signal: SignalEntry, plugins: Plugins) -> dict[str, Randomness]:
    """Sources of randomness of a signal, and what each of them is."""
    found: dict[str, Randomness] = {}
    for use in signal_uses(signal, plugins, where=f"signal {signal.name!r}"):
        found |= use.randomness
    return found


def uncertain_signals(signal_set: SignalSet, plugins: Plugins) -> tuple[SignalEntry, ...]:
    """Signals of a set with Monte-Carlo randomness, that of plug-ins inside others included."""
    return tuple(
        signal
        for signal in signal_set.signals
        if "monte_carlo" in signal_randomness(signal, plugins).values()
    )


def check_rule(use: ResolvedUse, case: RuleCase, *, where: str) -> None:
    """Refuse a rule that does not work on a network, or says nothing as it is scaled.

    Parameters
    ----------
    use
        The rule with its options.
    case
        Network and scaling.
    where
        File and name of the signal, and the model.

    Raises
    ------
    GradbrainError
        The rule, why, and what to do.
    """
    reason = use.options.refusal(case)
    if use.options.length_matters and case.normalise != "none":
        reason = (
            f"what it says of an image is the length of its signal, which `normalise: "
            f"{case.normalise}` takes away (a scalar at unit length is ±1); give the signal "
            "`normalise: none`"
        )
    if reason:
        raise GradbrainError(f"{where}: rule {use.plugin.name!r} cannot be had: {reason}")


def check_controls(signal_set: SignalSet, plugins: Plugins, *, where: str) -> None:
    """Refuse a control of what there is not, or one that uses an objective with other options.

    A family with a misspelt rule or objective would leave out, without a word, what it was to
    control. A shuffled cotangent that sees fewer views than its signal, or draws them in another
    way, is noisier or steadier than it, and what is compared is no longer content alone.

    Parameters
    ----------
    signal_set
        Signals and controls.
    plugins
        Where rules and objectives are looked up.
    where
        File and name of the set.

    Raises
    ------
    GradbrainError
        The key and the nearest name; or both entries, and the options of each.
    """
    for control in signal_set.signals:
        if isinstance(control.control_of, Cotangents):
            at = f"{where}: the control {control.name!r}: control_of"
            for rule in control.control_of.rule:
                choose(rule, plugins.names("rules"), what="rule", where=f"{at}: rule")
            for objective in control.control_of.objective:
                named = plugins.names("objectives")
                choose(objective, named, what="objective", where=f"{at}: objective")
    uses = {
        signal.name: signal_uses(signal, plugins, where=f"{where}: signal {signal.name!r}")
        for signal in signal_set.signals
    }
    for control, signal in product(signal_set.signals, signal_set.signals):
        if not control.controls(signal):
            continue
        own = {use.plugin: use.options for use in uses[signal.name]}
        for used in (inner for use in uses[control.name] for inner in use.inner):
            options = own.get(used.plugin, used.options)
            if options.model_dump() != used.options.model_dump():
                raise GradbrainError(
                    f"{where}: the control {control.name!r} uses {NAMES[used.plugin.kind]} "
                    f"{used.plugin.name!r} with {used.options.model_dump_json(exclude_unset=True)}"
                    f", and {signal.name!r}, which it controls, with "
                    f"{options.model_dump_json(exclude_unset=True)}; give both the same options"
                )


def signal_plugins(signal: SignalEntry, plugins: Plugins) -> tuple[Plugin, ...]:
    """Modules that a signal uses: its rule, its objective, those inside."""
    uses = signal_uses(signal, plugins, where=f"signal {signal.name!r}")
    return tuple(plugin for use in uses for plugin in use.plugins)


def weights_use(entry: ModelEntry, plugins: Plugins, *, where: str) -> ResolvedUse:
    """Source of the weights of a model, its options validated; `where` names the entry.

    Raises
    ------
    GradbrainError
        There is no such source, or an option of it is wrong.
    """
    use = PluginUse("weights", entry.weights.source, entry.weights.options)
    return plugins.resolve(use, where=f"{where}: weights")


# --- classes from the source ---------------------------------------------------------------------


@cache
def declared_class(path: Path, module: str, name: str) -> Any:
    """Evaluate a class or constant of a module, and what it refers to, without running the module.

    Parameters
    ----------
    path, module
        File of the module, and its name.
    name
        Class or constant at its top level.

    Returns
    -------
    type, object or None
        None where this is not possible: it refers to a heavy package, for example.
    """
    space = ModuleType(f"gradbrain_declared.{module}")
    space.__file__ = str(path)
    # pydantic looks names of annotations up in the module of the class.
    sys.modules[space.__name__] = space
    try:
        _evaluate(path, name, space)
    except GradbrainError:
        raise
    except Exception:  # whatever the statements of a module may raise
        return None
    found = vars(space).get(name)
    # A class whose annotations name what could not be evaluated cannot validate anything.
    return found if getattr(found, "__pydantic_complete__", True) else None


def _evaluate(path: Path, name: str, space: ModuleType) -> None:
    """Run the statements that define `name`, and those that they refer to, in their order."""
    bindings = _bindings(path)
    wanted, queue = set(), [name]
    while queue:
        node = bindings.get(queue.pop())
        if node is None or node in wanted:
            continue
        wanted.add(node)
        if not isinstance(node, ast.Import | ast.ImportFrom):
            # What is read: a field may have the name of a function of the module.
            queue += [
                item.id
                for item in ast.walk(node)
                if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load)
            ]
    future = [
        node
        for node in _tree(path).body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    for node in _tree(path).body:
        if node not in wanted:
            continue
        if isinstance(node, ast.ImportFrom | ast.Import) and not _may_run(node):
            _take_declared(node, space)
            continue
        part = ast.Module(body=[*future, node], type_ignores=[])
        exec(compile(part, str(path), "exec"), vars(space))


def _may_run(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import is of a light package, or of what needs no heavy one."""
    if isinstance(node, ast.Import):
        return not {alias.name.partition(".")[0] for alias in node.names} & HEAVY
    name = node.module or ""
    if name.partition(".")[0] == PACKAGE:
        return name.startswith((f"{PACKAGE}.config", f"{PACKAGE}.vocabulary"))
    return name.partition(".")[0] not in HEAVY


def _take_declared(node: ast.Import | ast.ImportFrom, space: ModuleType) -> None:
    """Evaluate names that are imported from a module of the library; leave out heavy ones."""
    if isinstance(node, ast.Import) or (node.module or "").partition(".")[0] != PACKAGE:
        return
    assert node.module is not None
    file = LIBRARY.joinpath(*node.module.split(".")).with_suffix(".py")
    if not file.is_file():
        return
    for alias in node.names:
        # Classes, and aliases and constants that their fields name.
        if not isinstance(
            _bindings(file).get(alias.name), ast.ClassDef | ast.Assign | ast.AnnAssign
        ):
            continue
        found = declared_class(file, node.module, alias.name)
        if found is not None:
            setattr(space, alias.asname or alias.name, found)


# --- import ----------------------------------------------------------------------------------


def _import(path: Path, module: str) -> ModuleType:
    if module.partition(".")[0] == PACKAGE:
        return importlib.import_module(module)
    loaded = sys.modules.get(module)
    if loaded is not None and Path(str(loaded.__file__)).resolve() == path.resolve():
        return loaded
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise GradbrainError(f"{path}: cannot be imported")
    found = importlib.util.module_from_spec(spec)
    sys.modules[module] = found
    try:
        spec.loader.exec_module(found)
    except Exception as error:
        del sys.modules[module]
        kind = type(error).__name__
        raise GradbrainError(f"{path}: cannot be imported: {kind}: {error}") from error
    return found


#: The plug-ins of the library alone.
LIBRARY_PLUGINS = Plugins()
