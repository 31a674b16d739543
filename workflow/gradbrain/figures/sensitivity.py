"""Which choice of analysis moves which verdict: claims of a multiverse, in words."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from gradbrain.figures import style
from gradbrain.figures.names import Names

#: What tells claims apart.
CLAIM = ("dataset", "modality", "model", "signal", "prediction", "variant")
BASE, ONE_AT_A_TIME, COMBINATION = "base", "one_at_a_time", "combination"


@dataclass(frozen=True)
class Move:
    """A choice that changes a verdict on its own.

    Attributes
    ----------
    factor, level
        Labels of the choice and of how it is made.
    verdict
        What the verdict becomes.
    """

    factor: str
    level: str
    verdict: str


@dataclass(frozen=True)
class Stability:
    """How one verdict fares in all universes.

    Attributes
    ----------
    claim
        Values of :data:`CLAIM`.
    verdict
        In the study as it is.
    moves
        Choices that change it on their own, in the order of the config.
    n_same, n_universes
        Universes with the same verdict, that of the study included, and all of them.
    n_combinations_moved
        Combinations with another verdict.
    """

    claim: dict[str, str]
    verdict: str
    moves: tuple[Move, ...]
    n_same: int
    n_universes: int
    n_combinations_moved: int

    @property
    def name(self) -> str:
        """Prediction and, of two variants, which."""
        return f"{self.claim['prediction']} ({style.VARIANT_LABELS[self.claim['variant']]})"


def stabilities(claims: pd.DataFrame, universes: pd.DataFrame) -> list[Stability]:
    """Compare the verdicts of all universes with those of the study.

    Parameters
    ----------
    claims
        Columns of the kind ``specification_curve``.
    universes
        Columns of the kind ``universes``.

    Returns
    -------
    list of Stability
        One per claim that carries a verdict, in the order of the study's claims.
    """
    kinds = universes.drop_duplicates("universe").set_index("universe")["kind"]
    varied = universes[(universes["kind"] == ONE_AT_A_TIME) & (universes["level_order"] > 0)]
    varied = varied.set_index("universe")
    judged = claims[claims["verdict"] != "descriptive"]
    judged = judged.assign(kind=judged["universe"].map(kinds))
    found = []
    for keys, own in judged.groupby(list(CLAIM), sort=False):
        base = own[own["kind"] == BASE]
        if base.empty:
            continue
        verdict = base["verdict"].iloc[0]
        other = own[own["verdict"] != verdict]
        alone = other[other["kind"] == ONE_AT_A_TIME].set_index("universe")["verdict"]
        moves = tuple(
            Move(str(row.factor_label), str(row.level_label), str(alone[row.Index]))
            for row in varied.itertuples()
            if row.Index in alone.index
        )
        found.append(
            Stability(
                claim=dict(zip(CLAIM, map(str, keys), strict=True)),
                verdict=verdict,
                moves=moves,
                n_same=len(own) - len(other),
                n_universes=len(own),
                n_combinations_moved=int((other["kind"] == COMBINATION).sum()),
            )
        )
    return found


def sentence(found: Stability) -> str:
    """Say which choices move a verdict.

    Examples
    --------
    ``The verdict on C1 (unique part), undetermined, changes with pooling only: 4 × 4 grid makes it
    supported. 31 of 34 universes agree with the study.``
    """
    start = f"The verdict on {found.name}, {found.verdict},"
    if found.n_same == found.n_universes:
        return f"{start} is the same in all {found.n_universes} universes."
    agree = f"{found.n_same} of {found.n_universes} universes agree with the study."
    if not found.moves:
        n = found.n_combinations_moved
        several = "combinations" if n > 1 else "combination"
        return f"{start} changes with no choice alone, but in {n} {several}. {agree}"
    factors = list(dict.fromkeys(move.factor for move in found.moves))
    only = " only" if len(factors) == 1 else ""
    how = "; ".join(f"{move.level} makes it {move.verdict}" for move in found.moves)
    return f"{start} changes with {_listed(factors)}{only}: {how}. {agree}"


def sentences(
    claims: pd.DataFrame, universes: pd.DataFrame, names: Names
) -> list[dict[str, object]]:
    """Sentences of the report, by data set, model and signal; verdicts that move come first.

    Returns
    -------
    list of dict
        ``subject`` and ``sentences``.
    """
    groups: dict[str, list[Stability]] = {}
    for found in stabilities(claims, universes):
        claim = found.claim
        subject = (
            f"{names.dataset_label(claim['dataset'], claim['modality'])}, "
            f"{names.label('model', claim['model'])}: {names.label('signal', claim['signal'])}"
        )
        groups.setdefault(subject, []).append(found)
    return [{"subject": subject, "sentences": _of_group(own)} for subject, own in groups.items()]


def _of_group(found: list[Stability]) -> list[str]:
    """One sentence for each verdict that moves, and one for all that do not."""
    moved = [sentence(item) for item in found if item.n_same < item.n_universes]
    still = [item for item in found if item.n_same == item.n_universes]
    if not still:
        return moved
    said = _listed([f"{item.name} ({item.verdict})" for item in still])
    n = still[0].n_universes
    return [*moved, f"No choice and no combination moves the verdict on {said} ({n} universes)."]


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
