"""Lets torchvision be imported where its compiled part was built for another PyTorch.

PyPI's torchvision is compiled for CUDA. Beside a build of PyTorch for CPUs alone its library does
not load, so its operators are not registered, and ``import torchvision`` ends with ``operator
torchvision::nms does not exist``; so does ``import timm``, which imports it, and every notebook
that wants either. Where both come from one index the pair fits. Where an index has a CPU build of
PyTorch and none of torchvision no pair of versions does.

``import torch`` calls :func:`declare_where_missing` by the entry point ``torch.backends``. It
declares the two operators that torchvision itself describes further while it is imported. They have
no implementation: image transforms work, and detection operators say that they could not be loaded.
Where torchvision loads nothing is declared.
"""

from __future__ import annotations

import re
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# Declarations live as long as this object.
_library: Any = None


def declare_where_missing() -> str:
    """Declare the operators of torchvision if, and only if, its compiled library does not load.

    Returns
    -------
    str
        Why they were declared; empty where nothing was.
    """
    # Here and not above: torch calls this function, and imports this module, while it is imported.
    import torch

    global _library
    why = why_missing()
    if why and _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in OPERATORS:
            _library.define(operator + SIGNATURE)
    return why


def why_missing() -> str:
    """Why the compiled library of the installed torchvision does not load; empty if it does."""
    import torch

    # Found without importing it.
    found = PathFinder.find_spec("torchvision")
    if found is None or found.origin is None:
        return ""
    folder = Path(found.origin).parent
    built_for, running = _build(folder), torch.__version__.partition("+")[2]
    if built_for == running:
        return ""
    for library in sorted(folder.glob("_C*.so")):
        try:
            torch.ops.load_library(library)
        except OSError as error:
            return (
                f"torchvision is built for {built_for or 'another build'}, torch is "
                f"{running or 'another build'}: {error.__cause__ or error}"
            )
    return ""


def _build(folder: Path) -> str:
    """Local version tag of torchvision, such as ``cu130`` or ``cpu``; empty where it has none."""
    version = folder / "version.py"
    if not version.is_file():
        return ""
    found = re.search(r"__version__\s*=\s*'[^'+]*\+?([^']*)'", version.read_text(encoding="utf-8"))
    return found.group(1) if found else ""
