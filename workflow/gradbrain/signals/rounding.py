r"""How much of a signal is rounding, found by disturbing a few images as rounding does.

Where large numbers cancel, their rounding is left. Half the squared norm of features behind a
layer normalisation without learned scale (``feature_norm`` of an untrained ConvNeXt or ViT) is the
case in point: such features have one length but for the :math:`\epsilon` of the normalisation, so
that the network annuls all but :math:`10^{-5}` of the cotangent, and five of float32's seven digits
go. Nothing shows it, since signals have unit length.

Each pixel is moved up or down by the resolution of its number type, and all passes are made again:

.. math:: \frac{\lVert s(x \odot (1 + \varepsilon r)) - s(x) \rVert}{\lVert s(x) \rVert}, \quad
    r_i = \pm 1.

Of a well-conditioned signal this is some :math:`10^{-6}`. Source: the perturbation methods of
Chaitin-Chatelin & Frayssé 1996, *Lectures on Finite Precision Computations*; that the input alone
is disturbed is *ours*: it reaches every operation, but tells nothing of errors that both passes
make.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch

from gradbrain.objectives.base import ImageBatch
from gradbrain.objectives.seeds import generator
from gradbrain.signals import SignalError

log = logging.getLogger(__name__)

N_IMAGES = 4
#: Relative errors from which on a signal is warned about, and refused: a unit vector with an error
#: of .1 has a cosine of .995 with the exact one.
WARNED = 1e-3
REFUSED = 0.1


def disturbed(batch: ImageBatch) -> ImageBatch:
    """Move each pixel by the resolution of its type, up or down at random under a fixed seed."""
    signs = generator("rounding").choice([-1.0, 1.0], size=tuple(batch.raw.shape))
    step = torch.finfo(batch.raw.dtype).eps * torch.as_tensor(signs).to(batch.raw)
    return batch.with_raw(batch.raw * (1 + step))


def relative_error(first: np.ndarray, second: np.ndarray) -> float:
    """Median over images of the relative difference; 0 where no image has a signal.

    Parameters
    ----------
    first, second
        (images, features); what is found is relative to the length of the first.
    """
    length = np.linalg.norm(first.astype(np.float64), axis=1)
    difference = np.linalg.norm(first.astype(np.float64) - second, axis=1)
    alive = length > 0
    return float(np.median(difference[alive] / length[alive])) if alive.any() else 0.0


def check_rounding(errors: Mapping[str, float], *, model: str) -> None:
    """Warn about signals that rounding shows in, refuse those that are little else.

    Parameters
    ----------
    errors
        Signal -> relative error.
    model
        Name of the model.

    Raises
    ------
    SignalError
        A signal is rounding noise.
    """
    for signal, error in errors.items():
        where = f"model {model!r}: signal {signal!r}"
        if error > REFUSED:
            raise SignalError(
                f"{where} is rounding noise: images that differ by rounding alone give signals "
                f"that differ by {error:.1g} of their length. What its objective sends back "
                "cancels in the network, as with feature_norm behind a layer normalisation "
                "without learned scale; take a signal set without this signal for the model"
            )
        if error > WARNED:
            log.warning(
                "%s is exact to %.0e of its length only, since what its objective sends back "
                "nearly cancels in the network; in other batches and on other machines it "
                "differs by as much",
                where,
                error,
            )
