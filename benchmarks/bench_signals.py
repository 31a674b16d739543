"""Time learning rules as multiples of backpropagation's fused pass, in one run.

Backpropagation's fused pass takes activations and gradients of all layers: one forward and one
backward pass, pooled. Each rule takes activations and its own signal from the same images, its
models fitted and its feedback weights drawn beforehand. Rules that go step by step are timed at a
number of steps and at twice as many: `per_step` is what one more costs. Rounds alternate between
the ways, the fastest round of each counts; the clock is the processor time of the process. The
last line is JSON: the worse of the networks for each rule, and the memory that the fit of a
generative model holds for a ViT-L.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import torch

from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet, Weights
from gradbrain.models.build import build_model
from gradbrain.models.layers import list_layers
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals.device import set_up
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.inverse_models import fit_bytes
from gradbrain.signals.needs import uses_of
from gradbrain.signals.rule import FitContext

NETWORKS = {
    "vit": ("vit_tiny_patch16_224", {"global_pool": "avg"}),
    "cnn": ("mobilenetv2_100", {}),
}
#: Rule -> options; those in which the number of steps stands, timed at one and at twice as many.
ONCE = {
    "backprop": {},
    "backprop_error": {},
    "feedback_alignment": {},
    "direct_feedback_alignment": {},
    "sign_symmetry": {},
    "predictive_coding_generative": {},
    "difference_target_propagation": {},
    "target_activity": {},
    "scalar_feedback": {},
    "hebbian": {},
    "three_factor": {},
    "objective_value": {},
    "gradient_norm": {},
}
STEPPED = {
    "gauss_newton_target": ("iterations", 2),
    "predictive_coding_inference": ("steps", 12),
    "node_perturbation": ("n_draws", 16),
}
WITHOUT_OBJECTIVE = {"predictive_coding_generative", "hebbian"}
ACTIVATION = SignalEntry(name="activation", role="activation", rule="activation")
#: Layers, channels and random features of the generative model of a ViT-L.
VIT_L = (24, 1024, 64)


class Bench:
    """One network and its images."""

    def __init__(self, network: str, arguments: argparse.Namespace) -> None:
        architecture, kwargs = NETWORKS[network]
        compute = set_up(arguments.device, "fp32", arguments.threads)
        entry = ModelEntry(
            name=network,
            architecture=architecture,
            kwargs=kwargs,
            weights=Weights(source="random"),
            input_size=224,
        )
        self.model = build_model(entry, device=compute.device)
        self.layers = list_layers(architecture)["layer"].tolist()
        self.device = compute.describe()["device"]
        calibration = self._images(8, 1, "calibration")
        self.bank = CalibrationBank(self.model, lambda: iter([calibration]))
        images = self._images(arguments.images, 0, "stimulus")
        starts = range(0, arguments.images, arguments.batch_size)
        self.batches = [images.part(slice(at, at + arguments.batch_size)) for at in starts]

    def _images(self, n_images: int, seed: int, prefix: str) -> ImageBatch:
        raw = np.random.default_rng(seed).uniform(size=(n_images, 3, 224, 224))
        names = tuple(f"{prefix}{index}" for index in range(n_images))
        tensor = torch.from_numpy(raw).float().to(self.model.device)
        labels = torch.full((n_images,), -1, device=self.model.device)
        return ImageBatch(names, tensor, labels, (None,) * n_images)

    def extractor(self, rule: str, **options: object) -> SignalExtractor:
        """Extractor of activations and one rule's signal, warmed up."""
        signal = SignalEntry(
            name=rule,
            role="learning",
            rule=rule,
            rule_options=options,
            objective=None if rule in WITHOUT_OBJECTIVE else "cross_entropy",
            normalise="none",
        )
        chosen = SignalSet(name="bench", signals=(ACTIVATION, signal))
        found, *objective = uses_of(chosen.signals, LIBRARY_PLUGINS)[rule]
        fitted = {}
        if "fit" in found.needs:
            use = objective[0] if objective else None
            context = FitContext(
                signal, found.options, self.model, self.bank, tuple(self.layers), use
            )
            fitted[rule] = found.plugin.load().fit(context)
        extractor = SignalExtractor(
            self.model, self.layers, chosen, self.bank, chain=self.layers, fitted=fitted
        )
        # Draws weights, and measures rounding, which the first batch alone does.
        extractor.take(self.batches[0])
        return extractor

    def seconds(self, extractor: SignalExtractor) -> float:
        """Processor time of all images."""
        started = time.process_time()
        for batch in self.batches:
            extractor.take(batch)
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()
        return time.process_time() - started


def measure(bench: Bench, rounds: int, rules: Sequence[str]) -> dict[str, float]:
    """Multiples of backpropagation's fused pass, by rule."""
    once = {rule: ONCE[rule] for rule in ("backprop", *rules) if rule in ONCE}
    stepped = {rule: STEPPED[rule] for rule in rules if rule in STEPPED}
    ways = {rule: bench.extractor(rule, **options) for rule, options in once.items()}
    for rule, (name, steps) in stepped.items():
        for times in (1, 2):
            ways[f"{rule} {times}"] = bench.extractor(rule, **{name: times * steps})
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, extractor in ways.items():
            best[name] = min(best[name], bench.seconds(extractor))
    unit = best["backprop"]
    found = {rule: best[rule] / unit for rule in once if rule != "backprop"}
    for rule, (_, steps) in stepped.items():
        first, second = best[f"{rule} 1"] / unit, best[f"{rule} 2"] / unit
        found[f"{rule}_at_{steps}"] = first
        found[f"{rule}_at_{2 * steps}"] = second
        found[f"{rule}_per_step"] = (second - first) / steps
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rules", nargs="+", choices=[*ONCE, *STEPPED], default=[*ONCE, *STEPPED])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    results = {}
    for network in arguments.networks:
        bench = Bench(network, arguments)
        results[network] = measure(bench, arguments.rounds, arguments.rules)
        print(network, {key: round(value, 2) for key, value in results[network].items()})
    worst = {
        key: round(max(result[key] for result in results.values()), 3)
        for key in next(iter(results.values()))
    }
    n_layers, width, hidden = VIT_L
    worst["fit_vit_l_mib"] = round((n_layers - 1) * fit_bytes(width, width, 1, hidden) / 2**20, 1)
    print(json.dumps({**worst, "device": bench.device, "clock": "cpu"}))


if __name__ == "__main__":
    main()
