"""Length of a signal, and its scaling to unit length per image."""

from __future__ import annotations

import torch

# Below this the float32 numbers of a vector lose digits, and their squares vanish.
VANISHING = 1e-35


def vector_norm(values: torch.Tensor) -> torch.Tensor:
    """Euclidean length of each row without under- or overflow of the squares, (B, F) to (B,)."""
    largest = values.abs().amax(dim=1)
    safe = torch.where(largest > 0, largest, torch.ones_like(largest))
    return largest * torch.linalg.vector_norm(values / safe[:, None], dim=1)


def unit_length(values: torch.Tensor) -> torch.Tensor:
    """Scale each row to length one; rows of zeros stay zeros.

    Parameters
    ----------
    values
        (B, F).

    Returns
    -------
    torch.Tensor
        (B, F).
    """
    largest = values.abs().amax(dim=1, keepdim=True)
    scaled = values / torch.where(largest > 0, largest, torch.ones_like(largest))
    length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / torch.where(length > 0, length, torch.ones_like(length))
