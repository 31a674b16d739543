"""Cross-entropy of a softmax whose derivative stays exact where student and target agree.

The derivative by the scores is :math:`q - p`, of two distributions. Where both put nearly all their
mass on one entry, the difference of that entry is lost to rounding: from a mass of 1 - 1e-7 on in
float32, and 1 - 1e-16 in float64. What is left of the gradient then points elsewhere, and a signal
of unit length hides how small it was. Both distributions sum to one, so the derivative of the
largest entry is minus the sum of the others, which are known to full relative precision.
"""

from __future__ import annotations

import torch


def softmax_cross_entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    r"""Cross-entropy :math:`-\sum_k p_k \log \mathrm{softmax}(s)_k` of each row.

    Formed from differences to the largest score :math:`s_m`, which enters through them alone:

    .. math:: \log(1 + \sum_{k \ne m} e^{s_k - s_m}) - \sum_{k \ne m} p_k (s_k - s_m)

    Parameters
    ----------
    scores
        (..., K), with their graph; -inf for entries that are left out.
    targets
        (..., K), each row a distribution, 0 where a score is -inf.

    Returns
    -------
    torch.Tensor
        (...,) nats.
    """
    top = scores.detach().argmax(-1, keepdim=True)
    below = scores - scores.gather(-1, top)
    others = torch.ones_like(below, dtype=torch.bool).scatter(-1, top, False)
    normaliser = torch.where(others, below, -torch.inf).exp().sum(-1).log1p()
    return normaliser - torch.where(others & (targets > 0), targets * below, 0).sum(-1)
