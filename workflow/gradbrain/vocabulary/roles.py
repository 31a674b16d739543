"""What a signal is taken for, and along what the responses of a modality are laid out."""

from __future__ import annotations

from typing import Literal, get_args

#: What the claims take a signal for.
Role = Literal["activation", "learning", "control"]
ACTIVATION: Role = "activation"
LEARNING: Role = "learning"
CONTROL: Role = "control"
ROLES: tuple[Role, ...] = get_args(Role)
#: Role of what all signals are held against in the tables of scores: all layers' activations, with
#: nuisance bands where the study has some. No entry of signals.yaml has it.
BASELINE = "baseline"
#: Role of a nuisance band on its own in these tables: a feature space of ``encoding.nuisance``.
NUISANCE = "nuisance"

#: Units of scores: regions of cortex, or times after image onset.
Axis = Literal["roi", "time"]
ROI: Axis = "roi"
TIME: Axis = "time"
AXES: tuple[Axis, ...] = get_args(Axis)
