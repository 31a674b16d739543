"""Scripts of others that the page carries, with their licences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources

from markupsafe import Markup

from gradbrain.figures.declarations import FigureError


@dataclass(frozen=True)
class Library:
    """A library in the page.

    Attributes
    ----------
    name, version
        Of the Python package that carries it.
    script, style
        JavaScript and CSS, as they may stand between tags.
    licence
        Text of the licence.
    """

    name: str
    version: str
    script: Markup
    style: Markup
    licence: str


@cache
def plotly() -> Library:
    """Plots that zoom and turn (plotly.js, MIT)."""
    return _library("plotly", "package_data/plotly.min.js")


@cache
def datatables() -> Library:
    """Tables that sort and filter (DataTables, MIT), as the package itables bundles them."""
    return _library("itables", "html/dt_bundle.js", "html/dt_bundle.css")


def _library(package: str, script: str, style: str | None = None) -> Library:
    folder = resources.files(package)
    try:
        code = folder.joinpath(script).read_text(encoding="utf-8")
        looks = folder.joinpath(style).read_text(encoding="utf-8") if style else ""
    except FileNotFoundError as error:
        raise FigureError(
            f"package {package} {metadata.version(package)} does not carry {error.filename}; "
            "install the version of envs/requirements.txt"
        ) from None
    files = metadata.files(package) or []
    licences = [file.read_text() for file in files if file.name.startswith("LICENSE")]
    return Library(
        name=package,
        version=metadata.version(package),
        # Of all that may stand in a script or style, its end tag alone would end it.
        script=Markup(code.replace("</script", "<\\/script")),
        style=Markup(looks.replace("</style", "<\\/style")),
        licence="\n".join(licences),
    )
