"""Rules and objectives of signals, resolved, and what jobs must be given for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gradbrain.config.plugins import Plugin, Plugins, ResolvedUse, signal_uses
from gradbrain.config.schema import SignalEntry, SignalSet
from gradbrain.signals import SignalError

#: Signal -> its rule, and its objective where it names one.
Uses = Mapping[str, Sequence[ResolvedUse]]


def place(signal: SignalEntry) -> str:
    """Name an entry in error messages."""
    return f"signals.yaml: signal {signal.name!r}"


def uses_of(signals: Iterable[SignalEntry], plugins: Plugins) -> Uses:
    """Resolve the rules and objectives of signals.

    Raises
    ------
    GradbrainError
        One does not exist, an option is wrong, or a rule lacks its objective.
    """
    return {signal.name: signal_uses(signal, plugins, where=place(signal)) for signal in signals}


def plugins_of(uses: Uses) -> tuple[Plugin, ...]:
    """Modules behind uses, those inside others included, each once."""
    found = (plugin for of_signal in uses.values() for use in of_signal for plugin in use.plugins)
    return tuple(dict.fromkeys(found))


def needed_chain(signal_set: SignalSet, uses: Uses, chain: Sequence[str]) -> tuple[str, ...]:
    """All layers of the model where a rule works on them, else none.

    Parameters
    ----------
    signal_set
        Signals.
    uses
        Their rules and objectives.
    chain
        All layers in order of depth.

    Raises
    ------
    SignalError
        A rule needs them and none are given.
    """
    asking = [signal for signal in signal_set.signals if "chain" in uses[signal.name][0].needs]
    if asking and not chain:
        raise SignalError(
            f"{place(asking[0])}: rule {asking[0].rule!r} works on the chain of all layers, and "
            "none are given; name all layers of the model in order of depth (--chain)"
        )
    return tuple(chain) if asking else ()
