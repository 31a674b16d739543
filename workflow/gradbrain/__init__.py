"""The study of learning signals in the brain: does its response follow backpropagation.

``gradbrain.open_study("results/demo")`` opens the results of a study.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradbrain.store.study import Study, open_study

#: CHANGELOG.md says what changed in which.
__version__ = "0.2.0"

__all__ = ["Study", "__version__", "open_study"]


def __getattr__(name: str) -> Any:
    # Jobs that import a module of the package need not import what opens results.
    if name in ("open_study", "Study"):
        from gradbrain.store import study

        return getattr(study, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
