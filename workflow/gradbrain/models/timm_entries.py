"""Registry entries of timm's models, with what sets each apart, from timm's own metadata."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import filter as matching
from functools import cache
from pathlib import Path
from typing import Any, get_args

import timm
import torch
from timm.models import get_pretrained_cfg, model_entrypoint

from gradbrain.config.errors import GradbrainError
from gradbrain.config.schema import ModelEntry
from gradbrain.config.suggestions import near_names

#: What the words of timm's weight tags say of a training.
TAGS = Path(__file__).resolve().parents[3] / "config" / "timm_tags.csv"
SUPERVISED = "supervised"
_ARXIV = re.compile(r"(?:arXiv:)?(\d\d)(?:0[1-9]|1[0-2])\.\d{4,5}")
_INTERPOLATIONS = get_args(ModelEntry.model_fields["interpolation"].annotation)


@dataclass(frozen=True)
class Found:
    """Entries that could be written, and why others could not.

    Attributes
    ----------
    entries
        Name -> content of an entry of ``models.yaml``.
    left_out
        Name -> reason.
    """

    entries: dict[str, dict[str, Any]]
    left_out: dict[str, str]


def pretrained(patterns: Sequence[str]) -> Found:
    """Entries of published weights, named as timm names them: ``architecture.tag``.

    Parameters
    ----------
    patterns
        Names or patterns of timm, e.g. ``vit_*``, ``resnet50.a1_in1k``.

    Raises
    ------
    GradbrainError
        A pattern matches nothing.
    """
    entries = {}
    usable, left_out = _usable(_chosen(patterns, timm.list_pretrained()))
    for name, config in usable.items():
        architecture, _, tag = name.partition(".")
        content = _common(architecture, config)
        content["weights"] = {"source": "hub", "tag": tag}
        content["factors"] |= factors_of_tag(tag) | _year(config)
        entries[name] = content
    return Found(entries, left_out)


def untrained(patterns: Sequence[str], *, seeds: int, input_size: int | None = None) -> Found:
    """Entries of networks as they are before any training, several initialisations of each.

    Parameters
    ----------
    patterns
        Names or patterns of timm's architectures.
    seeds
        Initialisations of each.
    input_size
        Edge of the square input in pixels; that of timm by default.

    Raises
    ------
    GradbrainError
        A pattern matches nothing.
    """
    entries = {}
    usable, left_out = _usable(_chosen(patterns, timm.list_models()))
    for architecture, config in usable.items():
        for seed in range(seeds):
            content = _common(architecture, config)
            content["weights"] = {"source": "random", "seed": seed}
            content["licence"] = "none (random initialisation)"
            if input_size is not None:
                content |= {"input_size": input_size} | _resized(architecture, input_size)
            entries[f"{architecture}_untrained_{seed}"] = content
    return Found(entries, left_out)


def factors_of_tag(tag: str) -> dict[str, str]:
    """What a weight tag of timm says of a training.

    Tags are words in the order of the training: its recipe and images, then ``ft`` and those that
    it was fine-tuned on (timm's documentation, "Model Names and Tags"; words: ``TAGS``). What no
    word says is supervised training, which is timm's rule where a tag names a data set alone.

    Parameters
    ----------
    tag
        E.g. ``augreg_in21k_ft_in1k``.

    Returns
    -------
    dict
        ``objective``, ``diet``, ``fine_tuned_on`` and ``recipe``, those that are known.
    """
    before, _, after = f"_{tag}_".partition("_ft_")
    words = [word for word in before.split("_") if word]
    known = _words()
    found: dict[str, str] = {}
    for word in words:
        for factor, value in known.get(word, {}).items():
            # The first that says it: in laion2b_in12k the second is what followed.
            found.setdefault(factor, value)
    if "diet" in found:
        found.setdefault("objective", SUPERVISED)
    elif found.get("objective") in ("dino", "masked_pixels", "joint_embedding"):
        # Released by its authors for the images of ImageNet, which the tag does not say.
        found["diet"] = "in1k"
    said = [known.get(word, {}) for word in after.split("_")]
    later = [values["diet"] for values in said if "diet" in values]
    if later:
        found["fine_tuned_on"] = "_".join(later)
    rest = [word for word in [*words, *after.split("_")] if word and word not in known]
    if rest:
        found["recipe"] = "_".join(rest)
    return {key: value for key, value in found.items() if value}


@cache
def _words() -> Mapping[str, dict[str, str]]:
    """Word of a tag -> factor -> value."""
    found: dict[str, dict[str, str]] = {}
    with TAGS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["word"], {})[row["factor"]] = row["value"]
    return found


def _chosen(patterns: Sequence[str], known: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for pattern in patterns:
        names = matching(known, pattern)
        if not names:
            near = near_names(pattern, known)
            hint = f"did you mean {', '.join(near)}?" if near else f"e.g. {', '.join(known[:3])}"
            raise GradbrainError(
                f"timm {timm.__version__} has nothing that matches {pattern!r}; {hint}"
            )
        found |= dict.fromkeys(names)
    return list(found)


def _usable(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What timm says of the networks that entries can describe; why they cannot of the others."""
    configs = {name: get_pretrained_cfg(name) for name in names}
    why = {name: reason for name, config in configs.items() if (reason := _unusable(config))}
    return {name: config for name, config in configs.items() if name not in why}, why


def _unusable(config: Any) -> str:
    """Why a network cannot take images as entries say; ``""`` where it can."""
    if config is None:
        return "timm says nothing of its input"
    channels, height, width = config.input_size
    if channels != 3 or height != width:
        return f"takes {channels} x {height} x {width}; expected three colours and a square"
    if config.interpolation not in _INTERPOLATIONS:
        return f"interpolation {config.interpolation!r}; expected one of {_INTERPOLATIONS}"
    return ""


def _common(architecture: str, config: Any) -> dict[str, Any]:
    """What an entry takes from timm whatever its weights."""
    papers = config.paper_ids or ()
    papers = (papers,) if isinstance(papers, str) else papers
    cited = [*papers, config.origin_url or ""]
    return {
        "architecture": architecture,
        "mean": [round(float(value), 6) for value in config.mean],
        "std": [round(float(value), 6) for value in config.std],
        "input_size": int(config.input_size[1]),
        "crop_pct": float(config.crop_pct),
        "interpolation": config.interpolation,
        "licence": config.license or "",
        "citation": next(filter(None, cited), ""),
        "factors": {"family": family(architecture), "parameters": parameters(architecture)},
    }


def _resized(architecture: str, input_size: int) -> dict[str, Any]:
    """Keyword arguments for another input size, of architectures that must know it."""
    with torch.device("meta"):
        try:
            timm.create_model(architecture, img_size=input_size)
        except TypeError:
            return {}
    return {"kwargs": {"img_size": input_size}}


def family(architecture: str) -> str:
    """Kind of architecture: the module of timm that defines it."""
    return model_entrypoint(architecture).__module__.rpartition(".")[2]


@cache
def parameters(architecture: str) -> float:
    """Parameters in millions, counted without allocating them."""
    with torch.device("meta"):
        network = timm.create_model(architecture)
    return round(sum(weight.numel() for weight in network.parameters()) / 1e6, 3)


def _year(config: Any) -> dict[str, int]:
    """Year of the first paper that timm names by its arXiv number; nothing where it names none."""
    papers = config.paper_ids or ()
    for paper in (papers,) if isinstance(papers, str) else papers:
        if number := _ARXIV.search(paper):
            return {"year": 2000 + int(number[1])}
    return {}
