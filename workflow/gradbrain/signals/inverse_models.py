r"""Local models that predict a layer from the one above it, fitted on calibration images.

.. math:: g(h) = V \varphi(h), \quad \varphi(h) = [1, \tilde h, \max(R \tilde h + b, 0)]

:math:`\tilde h` is the layer above with mean 0 and variance 1 in each channel, at one position;
:math:`R` and :math:`b` are random and fixed (random features: Rahimi & Recht 2008; Huang et al.
2006), :math:`V` is ridge regression. A position of a coarser map predicts the block of positions
that it covers below, a token the token of its place. The fit streams over images: what it holds is
two matrices per layer (:func:`fit_bytes`), whatever their number. Without random features the
model is affine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from pydantic import Field

from gradbrain.config.plugins import PluginOptions, Randomness, Requirement, RuleCase
from gradbrain.models.layout import Layout
from gradbrain.objectives.seeds import generator
from gradbrain.signals import SignalError
from gradbrain.signals.pooling import layout_of
from gradbrain.signals.rule import FitContext

#: Every fifth calibration image is held out.
HELD_OUT = 5
#: Passes over the calibration images: each gives batches of layer name -> positions.
Passes = Callable[[], Iterable[Mapping[str, torch.Tensor]]]
#: Variable of a fitted model: what it explains of held-out images, and below what it is poor.
HELD_OUT_R2, POOR_R2 = "r2_held_out", 0.5


class InverseOptions(PluginOptions):
    """Options of rules that predict each layer from the one above it."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"chain", "calibration", "fit"})
    randomness: ClassVar[Mapping[str, Randomness]] = {"features": "identity"}

    hidden: int = Field(64, ge=1, description="Random features of each layer above.")
    penalty: float = Field(1e-3, gt=0, description="Of the ridge regression, relative.")
    seed: int = Field(0, ge=0, description="Seed of the random features.")

    def refusal(self, case: RuleCase) -> str:
        """Refuse chains whose layers do not have their positions in common."""
        if case.own_inverses:
            return (
                "its layers become finer again on the way to its output, and a layer is predicted "
                "from one that is as coarse or coarser; take networks without a decoder"
            )
        if "other" in case.layouts:
            return "one of the model's layers gives neither tokens on a grid, a map, nor a vector"
        kinds = {layout for layout in case.layouts if layout is not None}
        if len(kinds) > 1:
            return (
                f"its layers lay out their outputs in different ways ({', '.join(sorted(kinds))}), "
                "and a layer is predicted from the one above position by position; take networks "
                "whose layers are all maps, all tokens or all vectors"
            )
        return ""


def to_positions(tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Bring the output of a layer into (B, H, W, C); of tokens (B, N, 1, C)."""
    if layout.kind == "vector":
        return tensor[:, None, None]
    if layout.kind == "tokens":
        return tensor[:, :, None]
    return tensor if layout.kind == "channels_last" else tensor.permute(0, 2, 3, 1)


def from_positions(positions: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Undo :func:`to_positions`."""
    if layout.kind == "vector":
        return positions[:, 0, 0]
    if layout.kind == "tokens":
        return positions[:, :, 0]
    return positions if layout.kind == "channels_last" else positions.permute(0, 3, 1, 2)


def fit_bytes(above: int, below: int, block: int, hidden: int) -> int:
    """Memory that the fit of one model holds.

    Parameters
    ----------
    above, below
        Channels of the two layers.
    block
        Positions below that one position above covers.
    hidden
        Random features.

    Returns
    -------
    int
        Bytes: products of features with themselves and with what they predict, float64.
    """
    features = 1 + above + hidden
    return 8 * features * (features + below * block)


@dataclass(frozen=True)
class InverseModel:
    """A fitted model of one layer, given the one above it.

    Attributes
    ----------
    mean, scale
        (C_above,) of each channel above.
    mixing, shift
        (C_above, hidden) and (hidden,) of the random features.
    weights
        (1 + C_above + hidden, rows * columns * C_below).
    block
        Rows and columns of positions below that one position above covers.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    mixing: torch.Tensor
    shift: torch.Tensor
    weights: torch.Tensor
    block: tuple[int, int]

    def features(self, above: torch.Tensor) -> torch.Tensor:
        """Features of every position above, (B, H, W, C) to (B, H, W, F)."""
        scaled = (above - self.mean) / self.scale
        random = (scaled @ self.mixing + self.shift).relu()
        return torch.cat([torch.ones_like(scaled[..., :1]), scaled, random], dim=-1)

    def predict(self, above: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Predict the layer below from the one above, (B, H, W, C_above), as wide as `like`."""
        flat = self.features(above) @ self.weights
        return unfold_blocks(flat, self.block, like.shape[1], like.shape[2])

    def to_dataset(self, r2: float) -> xr.Dataset:
        """Labelled arrays, float32, with the held-out R² of the fit."""
        arrays = {
            "mean": (("channel",), self.mean),
            "scale": (("channel",), self.scale),
            "mixing": (("channel", "hidden"), self.mixing),
            "shift": (("hidden",), self.shift),
            "weights": (("feature", "predicted"), self.weights),
        }
        # An affine model has no random features.
        found = {
            name: (dims, values.cpu().numpy().astype(np.float32))
            for name, (dims, values) in arrays.items()
            if values.numel()
        }
        return xr.Dataset({**found, "block": (("axis",), np.array(self.block)), HELD_OUT_R2: r2})

    @classmethod
    def from_dataset(cls, found: xr.Dataset, like: torch.Tensor) -> InverseModel:
        """Read a model to the type and device of a tensor."""
        mean, scale, weights = (
            torch.from_numpy(found[name].values).to(like) for name in ("mean", "scale", "weights")
        )
        mixing, shift = like.new_zeros(len(mean), 0), like.new_zeros(0)
        if "mixing" in found:
            mixing, shift = (
                torch.from_numpy(found[name].values).to(like) for name in ("mixing", "shift")
            )
        rows, columns = (int(edge) for edge in found["block"].values)
        return cls(mean, scale, mixing, shift, weights, (rows, columns))


def fold_blocks(
    below: torch.Tensor, block: tuple[int, int], rows: int, columns: int
) -> torch.Tensor:
    """Gather the block of each position above, (B, h, w, C) to (B, rows, columns, block * C).

    Positions that the layer below lacks at its edge are zeros.
    """
    missing = (rows * block[0] - below.shape[1], columns * block[1] - below.shape[2])
    padded = torch.nn.functional.pad(below, (0, 0, 0, missing[1], 0, missing[0]))
    blocks = padded.unflatten(1, (rows, block[0])).unflatten(3, (columns, block[1]))
    return blocks.permute(0, 1, 3, 2, 4, 5).flatten(3)


def unfold_blocks(
    flat: torch.Tensor, block: tuple[int, int], rows: int, columns: int
) -> torch.Tensor:
    """Undo :func:`fold_blocks`; what lies beyond the edge of the layer below is left out."""
    blocks = flat.unflatten(3, (block[0], block[1], -1)).permute(0, 1, 3, 2, 4, 5)
    whole = blocks.flatten(1, 2).flatten(2, 3)
    return whole[:, :rows, :columns]


def block_of(above: torch.Tensor, below: torch.Tensor, layer: str) -> tuple[int, int]:
    """Positions below that one position above covers, by rows and columns.

    Raises
    ------
    SignalError
        The layer above is the finer one.
    """
    rows, columns = (-(-below.shape[axis] // above.shape[axis]) for axis in (1, 2))
    if above.shape[1] > below.shape[1] or above.shape[2] > below.shape[2]:
        raise SignalError(
            f"layer {layer!r} has {tuple(below.shape[1:3])} positions and the one above it "
            f"{tuple(above.shape[1:3])}; a layer is predicted from one that is as coarse or coarser"
        )
    return rows, columns


class _Fit:
    """The running sums of one model."""

    def __init__(self, name: str, seed: int, hidden: int) -> None:
        self.name, self.seed, self.hidden = name, seed, hidden
        self.n_seen = 0
        self.total: torch.Tensor | None = None
        self.squares: torch.Tensor | None = None
        self.model: InverseModel | None = None
        self.gram: torch.Tensor | None = None
        self.cross: torch.Tensor | None = None
        self.left = self.spread = 0.0

    def add_moments(self, above: torch.Tensor) -> None:
        flat = above.flatten(0, 2).double()
        self.n_seen += len(flat)
        self.total = flat.sum(0) + (0 if self.total is None else self.total)
        self.squares = flat.square().sum(0) + (0 if self.squares is None else self.squares)

    def draw(self, above: torch.Tensor, below: torch.Tensor) -> InverseModel:
        """Make the model with its random features, its weights still to be fitted."""
        assert self.total is not None and self.squares is not None
        mean = self.total / self.n_seen
        variance = (self.squares / self.n_seen - mean.square()).clamp_min(0)
        scale = variance.sqrt()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        n_channels = len(mean)
        random = generator("inverse_model", self.seed, self.name)
        mixing = random.standard_normal((n_channels, self.hidden)) / n_channels**0.5
        shift = random.standard_normal(self.hidden)
        block = block_of(above, below, self.name)
        width = block[0] * block[1] * below.shape[-1]
        return InverseModel(
            mean=mean.to(above),
            scale=scale.to(above),
            mixing=torch.from_numpy(mixing).to(above),
            shift=torch.from_numpy(shift).to(above),
            weights=torch.zeros(1 + n_channels + self.hidden, width).to(above),
            block=block,
        )

    def add(self, above: torch.Tensor, below: torch.Tensor) -> None:
        """Add images to the products of features."""
        if self.model is None:
            self.model = self.draw(above, below)
        features = self.model.features(above).flatten(0, 2)
        wanted = fold_blocks(below, self.model.block, above.shape[1], above.shape[2]).flatten(0, 2)
        # Sums of a batch in the type of the network, sums over batches in float64.
        gram = (features.T @ features).double()
        cross = (features.T @ wanted).double()
        self.gram = gram if self.gram is None else self.gram + gram
        self.cross = cross if self.cross is None else self.cross + cross

    def solve(self, penalty: float) -> None:
        """Fit the weights, the constant without penalty."""
        assert self.model is not None and self.gram is not None and self.cross is not None
        diagonal = self.gram.diagonal()
        ridge = penalty * diagonal[1:].mean() * torch.ones_like(diagonal)
        ridge[0] = 0
        weights = torch.linalg.solve(self.gram + torch.diag(ridge), self.cross)
        self.model.weights.copy_(weights)
        self.gram = self.cross = None

    def hold_out(self, above: torch.Tensor, below: torch.Tensor) -> None:
        """Add held-out images to what the R² is made of."""
        assert self.model is not None
        missed = below - self.model.predict(above, below)
        self.left += float(missed.double().square().sum())
        centred = below - below.mean((0, 1, 2))
        self.spread += float(centred.double().square().sum())

    @property
    def r2(self) -> float:
        """Held-out R², of all channels and positions; NaN without held-out images."""
        return 1 - self.left / self.spread if self.spread > 0 else float("nan")


def fit_inverse_models(
    passes: Passes, pairs: Mapping[str, str], *, hidden: int, penalty: float, seed: int
) -> dict[str, xr.Dataset]:
    """Fit a model of each layer, given the one above it.

    Parameters
    ----------
    passes
        Gives the calibration images anew at every call.
    pairs
        Layer -> the layer above it.
    hidden
        Random features; 0: the models are affine.
    penalty
        Of the ridge regression, in units of the features' mean square.
    seed
        Of the random features.

    Returns
    -------
    dict
        Layer -> its model as :meth:`InverseModel.to_dataset` gives it.
    """
    fits = {below: _Fit(below, seed, hidden) for below in pairs}
    for batch in _part(passes, held_out=False):
        for below, above in pairs.items():
            fits[below].add_moments(batch[above])
    for batch in _part(passes, held_out=False):
        for below, above in pairs.items():
            fits[below].add(batch[above], batch[below])
    for fit in fits.values():
        fit.solve(penalty)
    for batch in _part(passes, held_out=True):
        for below, above in pairs.items():
            fits[below].hold_out(batch[above], batch[below])
    found = {}
    for name, fit in fits.items():
        assert fit.model is not None
        found[name] = fit.model.to_dataset(fit.r2)
    return found


def chain_passes(context: FitContext) -> Passes:
    """Passes over the calibration images, with the positions of every layer of the chain."""

    def passes() -> Iterator[dict[str, torch.Tensor]]:
        for tape, _ in context.passes():
            yield {
                name: to_positions(tensor, layout_of(context.model, name, tuple(tensor.shape)))
                for name, tensor in tape.layers.items()
            }

    return passes


def fit_chain(context: FitContext, *, hidden: int) -> dict[str, xr.Dataset]:
    """Fit a model of each layer of a chain but the last, given the one above it.

    Parameters
    ----------
    context
        Its options are :class:`InverseOptions`.
    hidden
        Random features; 0: the models are affine.
    """
    options = context.options
    return fit_inverse_models(
        chain_passes(context),
        dict(zip(context.chain[:-1], context.chain[1:], strict=True)),
        hidden=hidden,
        penalty=options.penalty,
        seed=options.seed,
    )


def _part(passes: Passes, *, held_out: bool) -> Iterator[Mapping[str, torch.Tensor]]:
    """Batches of the images that are fitted on, or of every fifth, which are held out."""
    at = 0
    for batch in passes():
        n_images = len(next(iter(batch.values())))
        places = torch.arange(at, at + n_images) % HELD_OUT == HELD_OUT - 1
        at += n_images
        kept = places if held_out else ~places
        if bool(kept.any()):
            yield {name: tensor[kept.to(tensor.device)] for name, tensor in batch.items()}
