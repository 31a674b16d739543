"""Which controls a learning signal is measured against."""

from __future__ import annotations

#: A control named so belongs to the learning signal with the same rule and objective.
SHUFFLED = "_shuffled_"
#: The design asks for three: fixed cotangent, shuffled cotangent, feature norm.
N_CONTROLS = 3


def controls_of(signal: str, roles: dict[str, str]) -> list[str]:
    """Controls of a learning signal: those shared by all, and its own shuffled cotangent.

    ``<rule>_shuffled_<objective>`` is the control of ``<rule>_<objective>`` alone; every other
    control (one random cotangent, the feature norm) needs no objective and serves all signals.

    Parameters
    ----------
    signal
        Name of the learning signal.
    roles
        Signal -> role.

    Returns
    -------
    list of str
        Sorted names.
    """
    return sorted(
        control
        for control, role in roles.items()
        if role == "control"
        and (SHUFFLED not in control or control.replace(SHUFFLED, "_", 1) == signal)
    )
