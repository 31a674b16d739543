"""Small networks for learning rules, and what a rule makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.schema import SignalEntry, SignalSet
from gradbrain.models.build import VisionModel
from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.needs import uses_of
from gradbrain.signals.rule import FitContext
from gradbrain.signals.tape import Taken

ACTIVATION = SignalEntry(name="activation", role="activation", rule="activation")


class TwoLinearLayers(nn.Module):
    """y = W2 W1 x of the flattened image; the objective ``feature_norm`` of it has e = y."""

    num_classes = 0

    def __init__(self, n_inputs: int, hidden: int = 7, n_outputs: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(n_inputs, hidden, bias=False)
        self.second = nn.Linear(hidden, n_outputs, bias=False)
        nn.init.normal_(self.first.weight, std=n_inputs**-0.5)
        nn.init.normal_(self.second.weight, std=hidden**-0.5)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(images.flatten(1)))

    def forward_head(self, hidden: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return hidden


class TinyTransformer(nn.Module):
    """Patches, two blocks of attention and a perceptron each, the mean over patches."""

    num_classes = 0
    num_prefix_tokens = 0

    def __init__(self, width: int = 4, patch: int = 4) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.blocks = nn.Sequential(_Block(width), _Block(width))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.embed(images).flatten(2).transpose(1, 2))

    def forward_head(self, hidden: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return hidden.mean(1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.proj, self.up = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(self.norm(tokens)).chunk(3, -1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(mixed)
        return tokens + self.down(nn.functional.gelu(self.up(self.norm(tokens))))


def signal_of(
    rule: str,
    objective: str | None = "feature_norm",
    *,
    role: str = "learning",
    name: str | None = None,
    normalise: str | None = "none",
    **rule_options: object,
) -> SignalEntry:
    """Signal of a rule, at its own length."""
    return SignalEntry(
        name=name or rule,
        role=role,
        rule=rule,
        rule_options=rule_options,
        objective=objective,
        normalise=normalise,
    )


def extractor_of(
    model: VisionModel,
    layers: Sequence[str],
    bank: CalibrationBank,
    *signals: SignalEntry,
    chain: Sequence[str] | None = None,
    **settings: object,
) -> SignalExtractor:
    """Extractor of activations and some signals, whose models are fitted here."""
    chosen = SignalSet(name="test", signals=(ACTIVATION, *signals), **settings)
    uses = uses_of(chosen.signals, LIBRARY_PLUGINS)
    chain = tuple(chain or layers)
    fitted = {}
    for signal in signals:
        rule, *objective = uses[signal.name]
        if "fit" in rule.needs:
            context = FitContext(
                signal, rule.options, model, bank, chain, objective[0] if objective else None
            )
            fitted[signal.name] = rule.plugin.load().fit(context)
    return SignalExtractor(model, layers, chosen, bank, chain=chain, fitted=fitted)


def taken(extractor: SignalExtractor, batch: ImageBatch, name: str) -> Taken:
    """What the rule of a signal makes of a batch: whole tensors, not pooled."""
    (source,) = (one for one in extractor.sources if one.entry.name == name)
    bound = source.bind(batch, disturbed=False)
    outputs = (source.objective.output,) if source.objective else ()
    tape = extractor.recorder.record(batch, outputs, graph=source.graph)
    return source.take(tape, bound, keep_graph=False)


def rule_signals(
    model: VisionModel,
    layers: Sequence[str],
    bank: CalibrationBank,
    batch: ImageBatch,
    rule: str,
    objective: str | None = "feature_norm",
    **rule_options: object,
) -> dict[str, torch.Tensor]:
    """What a rule gives at every layer, as whole tensors."""
    signal = signal_of(rule, objective, **rule_options)
    return taken(extractor_of(model, layers, bank, signal), batch, rule).layers
