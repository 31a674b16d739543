"""What can be said of a claim: the words of tables, cells, badges and sentences."""

from __future__ import annotations

from typing import Literal, get_args

Verdict = Literal["supported", "contradicted", "undetermined", "descriptive"]
#: In the order of legends.
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
