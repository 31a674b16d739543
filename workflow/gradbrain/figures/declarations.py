"""What a figure declares about itself, read from its source without importing it.

The workflow must know which results a figure needs before any job runs, and a dry run must not
pay for the import of a plotting library. The declarations are therefore literals.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import LIBRARY, LIBRARY_PLUGINS, Plugin, Plugins
from gradbrain.vocabulary.roles import AXES, Axis

#: Kinds of results that figures are drawn from.
RESULTS = (
    *("scores", "hierarchy", "hierarchy_draws", "time_courses", "maps", "rsa", "claims"),
    *("reliability", "universes", "specification_curve", "prediction_rsa", "second_opinions"),
    *("training", "alikeness", "rule_pairs", "fusion", "model_contrasts"),
)
#: Endings of the files of a figure; the last is the table behind it.
FORMATS = ("pdf", "png", "csv")
#: Declarations that are tuples of names, with an example for error messages.
_TUPLES = {"INPUTS": '("scores",)', "AXES": '("roi",)', "SPACES": '("fsaverage5",)'}


class FigureError(GradbrainError):
    """A figure that cannot be drawn as it is declared, or results from which it cannot be."""


class NothingToDraw(FigureError):  # noqa: N818
    """Results that hold nothing for a figure: no error where nobody asked for it by name."""


@dataclass(frozen=True)
class Points:
    """How the table behind a figure is shown point by point in the report, to be pointed at.

    Attributes
    ----------
    x, y
        Columns of the axes.
    x_label, y_label
        What they are, with units; the names of the columns by default.
    low, high
        Columns of the ends of an interval of ``y``, or ``""``.
    series
        Column whose values have a colour each, or ``""``.
    colour
        Column of numbers that colours the points, in the place of ``series``, or ``""``.
    panels
        Columns of which the reader chooses one value each.
    text
        Further columns that are told where one points.
    """

    x: str
    y: str
    x_label: str = ""
    y_label: str = ""
    low: str = ""
    high: str = ""
    series: str = ""
    colour: str = ""
    panels: tuple[str, ...] = ()
    text: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """All columns that are read, each once."""
        named = (self.x, self.y, self.low, self.high, self.series, self.colour)
        return list(dict.fromkeys(name for name in (*named, *self.panels, *self.text) if name))


@dataclass(frozen=True)
class Declaration:
    """What one figure module says about itself.

    Attributes
    ----------
    plugin
        The module, not yet imported.
    title
        One line for readers.
    inputs
        Results that it reads, a subset of ``RESULTS``.
    axes
        The study must hold a data set laid out along one of these.
    spaces
        The study must hold responses in one of these spaces; empty where any will do.
    points
        How the report shows its table point by point; None where it does not.
    optional
        Results that it shows as well where there are any; a folder of results may lack them.
    joint_fits
        Whether it shows fits of signals together with activations, which not every study makes.
    """

    plugin: Plugin
    title: str
    inputs: tuple[str, ...]
    axes: tuple[Axis, ...]
    spaces: tuple[str, ...]
    points: Points | None = None
    optional: tuple[str, ...] = ()
    joint_fits: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """All results that it reads."""
        return (*self.inputs, *self.optional)

    @property
    def name(self) -> str:
        """Name of the module and of the files that it writes."""
        return self.plugin.name

    @property
    def caption(self) -> Path:
        """Its caption: beside the module or, of the library, among those of the report."""
        if self.plugin.in_library:
            return LIBRARY / "report" / f"{self.name}.rst"
        return self.plugin.path.with_suffix(".rst")

    def applies_to(self, axis: str | None, space: str) -> bool:
        """Whether a data set of this axis and response space can be drawn."""
        return axis in self.axes and (not self.spaces or space in self.spaces)


def figure_names(plugins: Plugins = LIBRARY_PLUGINS) -> list[str]:
    """Names of all figures, sorted."""
    return plugins.names("figures")


def declaration(
    name: str, plugins: Plugins = LIBRARY_PLUGINS, *, where: str = "figures.names"
) -> Declaration:
    """Read the declarations of one figure.

    Parameters
    ----------
    name
        Name of the figure.
    plugins
        Where it is looked up.
    where
        File and key that ask for it, for error messages.

    Raises
    ------
    GradbrainError
        There is no such figure; near names are named.
    FigureError
        It declares something that does not exist, or has no caption.
    """
    plugin = plugins.find("figures", name, where=where)
    found = _literals(plugin)
    for key, allowed in (("INPUTS", RESULTS), ("AXES", AXES)):
        unknown = sorted(set(found[key]) - set(allowed))
        if unknown or not found[key]:
            raise FigureError(
                f"{plugin.path}: {key} is {found[key]!r}; expected some of {list(allowed)}"
            )
    optional = _optional(plugin, found.get("OPTIONAL", ()))
    if "hierarchy_draws" in found["INPUTS"] and "hierarchy" not in found["INPUTS"]:
        raise FigureError(
            f"{plugin.path}: INPUTS names 'hierarchy_draws' without 'hierarchy', whose rows they "
            "are of; name both"
        )
    declared = Declaration(
        plugin=plugin,
        title=found["TITLE"],
        inputs=found["INPUTS"],
        axes=found["AXES"],
        spaces=found["SPACES"],
        points=_points(plugin, found.get("POINTS")),
        optional=optional,
        joint_fits=_joint_fits(plugin, found.get("JOINT_FITS", False)),
    )
    if not declared.caption.is_file():
        raise FigureError(
            f"{plugin.path}: has no caption {declared.caption}; write there, as reStructuredText, "
            "what each axis and colour is and what to look for"
        )
    return declared


def _literals(plugin: Plugin) -> dict[str, Any]:
    """Declarations of a module, with their types checked."""
    found = plugin.literals()
    missing = [key for key in ("TITLE", *_TUPLES) if key not in found]
    if missing:
        raise FigureError(
            f"{plugin.path}: {', '.join(missing)}: not written as literals; planning reads them "
            "without running the module"
        )
    if not isinstance(found["TITLE"], str):
        raise FigureError(f"{plugin.path}: TITLE is {found['TITLE']!r}; expected one line of text")
    for key, example in _TUPLES.items():
        value = found[key]
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            raise FigureError(
                f"{plugin.path}: {key} is {value!r}; expected a tuple of names, e.g. {example}"
            )
    return found


def _optional(plugin: Plugin, value: Any) -> tuple[str, ...]:
    """The declaration ``OPTIONAL``, checked."""
    if not isinstance(value, tuple) or set(value) - set(RESULTS):
        raise FigureError(
            f"{plugin.path}: OPTIONAL is {value!r}; expected a tuple of some of {list(RESULTS)}"
        )
    return value


def _joint_fits(plugin: Plugin, value: Any) -> bool:
    """The declaration ``JOINT_FITS``, checked."""
    if not isinstance(value, bool):
        raise FigureError(f"{plugin.path}: JOINT_FITS is {value!r}; expected True or False")
    return value


def _points(plugin: Plugin, value: Any) -> Points | None:
    """The optional declaration ``POINTS``, with its keys and types checked."""
    if value is None:
        return None
    allowed = {field.name: field.type for field in fields(Points)}
    if not isinstance(value, dict) or not {"x", "y"} <= set(value) <= set(allowed):
        raise FigureError(
            f"{plugin.path}: POINTS is {value!r}; expected a dict with x and y and any of "
            f"{sorted(set(allowed) - {'x', 'y'})}"
        )
    for key, found in value.items():
        parts = found if allowed[key] == "tuple[str, ...]" else (found,)
        if not isinstance(parts, tuple) or not all(isinstance(part, str) for part in parts):
            what = "a tuple of names" if allowed[key] == "tuple[str, ...]" else "text"
            raise FigureError(f"{plugin.path}: POINTS[{key!r}] is {found!r}; expected {what}")
    return Points(**value)
