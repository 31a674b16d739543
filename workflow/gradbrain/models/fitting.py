"""Whether a state dictionary fits a network, and what to do where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradbrain.config.schema import ModelEntry
from gradbrain.models.errors import WeightsError

SHOWN = 5
#: What timm calls classifiers.
CLASSIFIERS = {"classifier", "fc", "head", "head.fc"}


def flat_state(state: Any, *, path: Path, entry: ModelEntry) -> dict[str, torch.Tensor]:
    """Take a state dictionary for what it is, and refuse what holds one inside.

    Raises
    ------
    WeightsError
        Names the key under which the weights stand, and the command that takes them out.
    """
    if isinstance(state, Mapping) and all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        return dict(state)
    where = f"model {entry.name!r}: {path} holds"
    inside = _state_inside(state)
    if inside is not None:
        raise WeightsError(
            f"{where} a training checkpoint, whose weights stand under {inside!r}; take them out: "
            f"{_rewrite(path, f's[{inside!r}]')}"
        )
    raise WeightsError(
        f"{where} {type(state).__name__}, expected a flat dictionary of tensors (save "
        "model.state_dict())"
    )


def _state_inside(state: Any) -> str | None:
    """Key of the largest dictionary of tensors that something holds; None where there is none."""
    if not isinstance(state, Mapping):
        return None
    found = {
        key: len(value)
        for key, value in state.items()
        if isinstance(value, Mapping)
        and value
        and all(isinstance(item, torch.Tensor) for item in value.values())
    }
    return max(found, key=lambda key: found[key], default=None)


def _rewrite(path: Path, expression: str) -> str:
    """Command that writes a changed copy of a checkpoint beside it, as safetensors."""
    target = path.with_name(f"{path.stem}-weights.safetensors")
    if path.suffix == ".safetensors":
        read = f"from safetensors.torch import load_file, save_file; s = load_file('{path}')"
    else:
        read = (
            "import torch; from safetensors.torch import save_file; "
            f"s = torch.load('{path}', weights_only=True)"
        )
    kept = f"{{k: v.contiguous() for k, v in ({expression}).items()}}"
    return (
        f"python -c \"{read}; save_file({kept}, '{target}')\", and name {target.name} in the entry"
    )


def check_fit(
    module: nn.Module, state: Mapping[str, torch.Tensor], *, path: Path, entry: ModelEntry
) -> None:
    """Refuse a state dictionary that does not fit the module name by name and shape by shape.

    Raises
    ------
    WeightsError
        Lists the missing, the unexpected and the differently shaped entries, and what to do.
    """
    own = module.state_dict()
    missing = sorted(set(own) - set(state))
    unexpected = sorted(set(state) - set(own))
    reshaped = [
        name for name in sorted(set(own) & set(state)) if own[name].shape != state[name].shape
    ]
    if not (missing or unexpected or reshaped):
        return
    told = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": [
            f"{name} {tuple(state[name].shape)} (expected {tuple(own[name].shape)})"
            for name in reshaped
        ],
    }
    problems = [f"{label}: {_listed(names)}" for label, names in told.items() if names]
    remedy = _remedy(own, state, missing, unexpected, reshaped, module, path, entry)
    raise WeightsError(
        f"model {entry.name!r}: {path} does not fit {entry.architecture} with kwargs "
        f"{entry.kwargs}; {'; '.join(problems)}{f'; {remedy}' if remedy else ''}"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _remedy(
    own: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    missing: list[str],
    unexpected: list[str],
    reshaped: list[str],
    module: nn.Module,
    path: Path,
    entry: ModelEntry,
) -> str:
    """Say what to do about the differences; ``""`` where that is not known."""
    if prefix := _prefix(own, state):
        taken = f"{{k.removeprefix('{prefix}'): v for k, v in s.items()}}"
        return (
            f"its names begin with {prefix!r} (of a wrapper such as DataParallel or of a model "
            f"around this one); take it off: {_rewrite(path, taken)}"
        )
    heads = _classifier(module)
    if heads >= {*missing, *unexpected, *reshaped}:
        classes = {state[name].shape[0] for name in heads & set(state) if state[name].ndim}
        if not classes:
            return "the file has no classifier: write kwargs: {num_classes: 0}"
        if len(classes) == 1:
            found, expected = classes.pop(), getattr(module, "num_classes", "?")
            return (
                f"the file has {found} classes, the network {expected}: write kwargs: "
                f"{{num_classes: {found}}}"
            )
    if "img_size" in entry.kwargs and reshaped and not (missing or unexpected):
        return (
            "the file is of another img_size: in the place of img_size write kwargs: "
            "{dynamic_img_size: true}, which resamples positions to input_size"
        )
    return ""


def _prefix(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> str:
    """What stands before the names that the network has; ``""`` where nothing does."""
    if not own:
        return ""
    first = next(iter(own))
    for name in state:
        prefix = name.removesuffix(first)
        if name.endswith(first) and prefix.endswith("."):
            fitting = sum(f"{prefix}{key}" in state for key in own)
            # A classifier may be missing or of another name.
            if fitting >= 0.9 * len(own):
                return prefix
    return ""


def _classifier(module: nn.Module) -> set[str]:
    """Names that the tensors of a network's classifier have, or would have if there were one."""
    classifier = getattr(module, "get_classifier", lambda: None)()
    names = {name for name, child in module.named_modules() if name and child is classifier}
    return {f"{name}.{part}" for name in names | CLASSIFIERS for part in ("weight", "bias")}
