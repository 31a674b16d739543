"""Import timm also where torchvision was built for another torch.

With the CPU build of torch 2.13.0, torchvision 0.28.0 fails at import because two of its compiled
operators are not registered. timm imports torchvision but calls neither of them, so declaring
their signatures is enough. Where torchvision loads, nothing is declared.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

import torch

MISSING_OPERATOR = "operator torchvision::nms does not exist"
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_missing_operators() -> torch.library.Library:
    """Declare ``torchvision::nms`` and ``torchvision::qnms`` without an implementation.

    Returns
    -------
    torch.library.Library
        The declarations live as long as this object.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + SIGNATURE)
    return library


def _forget(package: str) -> None:
    """Drop a package from the import cache, so that a half-made import is started afresh."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


@functools.cache
def _repaired_operators() -> torch.library.Library | None:
    """Import torchvision; declare its operators if, and only if, it fails for want of them."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if MISSING_OPERATOR not in str(error):
            raise
        library = declare_missing_operators()
        _forget("torchvision")
        importlib.import_module("torchvision")
        return library
    return None


def repair_torchvision() -> None:
    """Make torchvision importable where its operators are missing."""
    _repaired_operators()


def import_timm() -> ModuleType:
    """Import timm, repairing torchvision's operators first where they are missing."""
    repair_torchvision()
    return importlib.import_module("timm")
