"""What the parts of a plan share: the plan that they belong to, and what is computed once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from gradbrain.plan.jobs import Plan

P = ParamSpec("P")
Owner = TypeVar("Owner")
Found = TypeVar("Found")


class PlanPart:
    """One concern of a study's jobs, which asks the plan for the others.

    Parameters
    ----------
    plan
        The jobs of the study.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._study = plan.study


def remembered(
    method: Callable[Concatenate[Owner, P], Found],
) -> Callable[Concatenate[Owner, P], Found]:
    """Call a method once for each of its arguments: thousands of jobs ask for the same few.

    What was found is kept with the object and goes with it.
    """

    @wraps(method)
    def found(owner: Owner, *args: P.args, **kwargs: P.kwargs) -> Found:
        known: dict[Any, Any] = vars(owner).setdefault("_remembered", {})
        key = (method.__name__, args, *kwargs.items())
        if key not in known:
            known[key] = method(owner, *args, **kwargs)
        return known[key]

    return found
