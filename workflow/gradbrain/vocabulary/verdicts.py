"""What can be said of a claim: the words of tables, cells, badges and sentences."""

from __future__ import annotations

from typing import Literal, get_args

Verdict = Literal["supported", "contradicted", "undetermined", "descriptive"]
#: In the order of legends.
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

#: What a second opinion, by dissimilarities of predictions, is to the first.
Agreement = Literal["agrees", "disagrees", "first_only", "second_only", "neither", ""]
AGREEMENTS: dict[Agreement, str] = {
    "agrees": "both have the same verdict",
    "disagrees": "one supports what the other contradicts",
    "first_only": "the second is undetermined",
    "second_only": "the first is undetermined",
    "neither": "both are undetermined",
}
