"""What a figure declares about itself, read from its source without importing it.

The workflow must know which results a figure needs before any job runs, and a dry run must not
pay for the import of a plotting library. The declarations are therefore literals.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from gradbrain.config import GradbrainError

FOLDER = Path(__file__).resolve().parent
RESULTS = ("scores", "hierarchy", "maps", "rsa", "claims")


class FigureError(GradbrainError):
    """A figure that is unknown, or results from which it cannot be drawn."""


@dataclass(frozen=True)
class Declaration:
    """What one figure module says about itself.

    Attributes
    ----------
    name
        Name of the module and of the files that it writes.
    title
        One line for readers.
    inputs
        Results that it reads, a subset of ``RESULTS``.
    modalities
        The study must hold a data set of one of these.
    spaces
        The study must hold responses in one of these spaces; empty where any will do.
    """

    name: str
    title: str
    inputs: tuple[str, ...]
    modalities: tuple[str, ...]
    spaces: tuple[str, ...]

    def applies_to(self, modality: str, space: str) -> bool:
        """Whether a data set of this modality and response space can be drawn."""
        return modality in self.modalities and (not self.spaces or space in self.spaces)


def figure_names() -> list[str]:
    """Names of all figures: the modules of this package that declare ``INPUTS``, sorted."""
    return sorted(p.stem for p in FOLDER.glob("*.py") if "INPUTS" in _literals(p))


def declaration(name: str) -> Declaration:
    """Read the declarations of one figure.

    Raises
    ------
    FigureError
        If there is no such figure or it declares an input that does not exist.
    """
    path = FOLDER / f"{name}.py"
    found = _literals(path) if path.is_file() else {}
    if "INPUTS" not in found:
        raise FigureError(f"unknown figure {name!r}; choose one of: {', '.join(figure_names())}")
    missing = [key for key in ("TITLE", "MODALITIES", "SPACES") if key not in found]
    if missing:
        raise FigureError(f"{path}: declares no {', '.join(missing)}; add it as a literal")
    unknown = sorted(set(found["INPUTS"]) - set(RESULTS))
    if unknown:
        raise FigureError(f"{path}: INPUTS names {unknown}; choose from {list(RESULTS)}")
    return Declaration(
        name=name,
        title=found["TITLE"],
        inputs=found["INPUTS"],
        modalities=found["MODALITIES"],
        spaces=found["SPACES"],
    )


def _literals(path: Path) -> dict:
    """Module-level assignments of capital names to literals."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1):
            continue
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in {
            "TITLE",
            "INPUTS",
            "MODALITIES",
            "SPACES",
        }:
            found[target.id] = ast.literal_eval(node.value)
    return found
