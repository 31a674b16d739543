"""Numbers and remarks of the report as readers see them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradbrain.vocabulary import reasons


def number(value: Any) -> str:
    """Three significant digits with a real minus; a dash where there is no number."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3g}".replace("-", "−")


def sortable(value: float) -> str:
    """A number that scripts order rows by; what is unknown comes last."""
    return f"{value:.6g}" if math.isfinite(value) else "1e99"


def share(value: float) -> str:
    """A p or q in three digits, small ones as a bound; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def remarks(claim: Any) -> str:
    """Why a claim has no verdict, and of what part of subjects or cortex it speaks; or ``""``.

    Parameters
    ----------
    claim
        Has ``reason``, ``n``, ``n_subjects`` and ``coverage``.
    """
    some = 0 < claim.n < claim.n_subjects
    who = f"{claim.n_subjects - claim.n} of {claim.n_subjects} subjects lack it" if some else ""
    part = reasons.PART_OF_CORTEX.format(claim.coverage) if claim.coverage else ""
    return "; ".join(filter(None, (reasons.sentence(claim.reason), who, part)))


def hundredths(value: float) -> str:
    """A number from −1 to 1 in two digits, without its leading zero; ``""`` where unknown."""
    if not np.isfinite(value):
        return ""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text
