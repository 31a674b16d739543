"""What a credit-assignment rule is: what it is told, what it is given, what it gives back.

A rule is a module, found by name (:mod:`gradbrain.config.plugins`), which defines

``Options``
    What YAML may say of it under ``rule_options``, what it needs and what of it is random: a class
    of :class:`~gradbrain.config.plugins.PluginOptions`, evaluated without importing torch. Of what
    it may need, a rule says: ``objective`` (its signals name one), ``graph`` (the forward pass
    keeps its graph), ``image_graph`` (from the images on, not from the first layer),
    ``other_weights`` (backward passes may go through other weights, :attr:`Tape.way_back`),
    ``chain`` (all layers of the model are on the tape, whichever are stored), ``calibration``
    (calibration images) and ``fit`` (a model of its own). ``refusal(case)`` says why it cannot be
    had for a network, ``approximation(case)`` what of it is approximated there.
``Rule``
    A class that follows :class:`Rule`.
``fit(context) -> xarray.Dataset | xarray.DataTree``
    Of rules that need ``fit``: fits the model of the rule, given a :class:`FitContext`. It sees
    calibration images alone, in a job of its own, and what it gives is stored and handed to the
    rule as :attr:`RuleContext.fitted`. One fitted model serves all signal sets that hold the
    signal, so that whatever ``fit`` draws has a seed among the options of the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import xarray as xr

from gradbrain.config.plugins import ResolvedUse
from gradbrain.config.schema import SignalEntry
from gradbrain.models.build import OutputName, VisionModel
from gradbrain.objectives import build_objective
from gradbrain.objectives.base import BaseObjective, BoundObjective
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.objectives.seeds import seed_of_source
from gradbrain.signals import SignalError
from gradbrain.signals.tape import Taken, Tape, TapeRecorder


@dataclass(frozen=True)
class RuleContext:
    """What a rule is constructed with.

    Attributes
    ----------
    signal
        Entry of the signal.
    options
        ``rule_options`` of the entry as the module's ``Options``.
    model
        Network.
    seed
        Seed of the signal set.
    calibration
        Calibration images, for rules that need them; else None.
    chain
        Names of all layers of the model in order of depth, for rules that need them; else empty.
    fitted
        What ``fit`` gave, for rules that need it; else None. Opened lazily; its attributes say
        what it was fitted for.
    replicate
        0: the draw of Monte-Carlo randomness that is used; others are independent of it.
    """

    signal: SignalEntry
    options: Any
    model: VisionModel
    seed: int = 0
    calibration: CalibrationBank | None = None
    chain: tuple[str, ...] = ()
    fitted: xr.Dataset | xr.DataTree | None = None
    replicate: int = 0

    def seed_of(self, source: str) -> int:
        """Seed of a source of randomness that the options declare, in this replicate."""
        return seed_of_source(
            self.options.randomness, source, seed=self.seed, replicate=self.replicate
        )


class Rule(Protocol):
    """A credit-assignment rule: what it makes of layers, given a forward pass.

    What it makes of an image may depend on no other image of the batch, and on nothing that
    other signals of the set ask for.
    """

    def __init__(self, context: RuleContext) -> None: ...

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Make the signal of every layer that is stored.

        Parameters
        ----------
        tape
            Forward pass over the batch. Its layers are those that are stored, or the whole chain
            for rules that need it; its outputs that of the rule's objective alone.
        objective
            Objective of the signal, with the images; None for rules that need none.
        keep_graph
            Other signals follow that need the graph of the tape: a backward pass must retain it.

        Returns
        -------
        Taken
            A tensor for each layer on the tape; those that are not stored may be left out.
        """
        ...


@dataclass(frozen=True)
class FitContext:
    """What ``fit`` is given.

    Attributes
    ----------
    signal
        Entry of the signal.
    options
        ``rule_options`` of the entry as the module's ``Options``.
    model
        Network.
    calibration
        Calibration images.
    chain
        Names of all layers of the model in order of depth, for rules that need them; else empty.
    objective_use
        Objective of the signal, None where it names none.
    """

    signal: SignalEntry
    options: Any
    model: VisionModel
    calibration: CalibrationBank
    chain: tuple[str, ...] = ()
    objective_use: ResolvedUse | None = None

    def objective(self, seed: int) -> BaseObjective:
        """Build the objective of the signal; the seed is an option of the rule.

        Raises
        ------
        SignalError
            The signal names none.
        """
        if self.objective_use is None:
            raise SignalError(
                f"signal {self.signal.name!r}: rule {self.signal.rule!r} asks for an objective to "
                'fit its model; its Options must say requires = frozenset({"objective", …})'
            )
        return build_objective(self.objective_use, self.model, self.calibration, seed=seed)

    def passes(
        self, objective: BaseObjective | None = None, *, graph: bool = False
    ) -> Iterator[tuple[Tape, BoundObjective | None]]:
        """Run the network over the calibration images, batch by batch.

        Parameters
        ----------
        objective
            What :meth:`objective` gave, where the fit needs it.
        graph
            Keep the graph of each pass from the first layer of the chain on.

        Yields
        ------
        tuple
            The pass over a batch, and the objective with these images, None without one.
        """
        recorder = TapeRecorder(self.model, self.chain)
        outputs: tuple[OutputName, ...] = (objective.output,) if objective else ()
        for batch in self.calibration.batches():
            bound = objective.bind(batch) if objective else None
            yield recorder.record(batch, outputs, graph=graph), bound
