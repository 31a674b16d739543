"""Sparse random projection: fewer features, with nothing fitted on any image."""

from __future__ import annotations

import functools
import warnings

import torch

from gradbrain.config.schema import Projection


@functools.cache
def projection_matrix(n_components: int, width: int, seed: int) -> torch.Tensor:
    """Draw the matrix that projects ``width`` features onto ``n_components``.

    Entries are ``±sqrt(s / n_components)`` with probability ``1 / (2 s)`` each and 0 otherwise,
    ``s = sqrt(width)`` (Li, Hastie & Church 2006, "Very sparse random projections"). It depends
    on its arguments alone, so all images, signals and layers of one width share it.

    Returns
    -------
    torch.Tensor
        (n_components, width) float32, sparse rows.
    """
    import numpy as np
    from sklearn.random_projection import SparseRandomProjection

    projector = SparseRandomProjection(n_components, density="auto", random_state=seed)
    matrix = projector.fit(np.zeros((1, width), dtype=np.float32)).components_.tocsr()
    with warnings.catch_warnings():
        # torch calls its sparse rows a beta feature in a warning at the first one.
        warnings.simplefilter("ignore")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=(n_components, width),
            check_invariants=True,
        )


class RandomProjection:
    """Project rows of features; narrower ones pass unchanged.

    Parameters
    ----------
    settings
        Number of components and seed; None: nothing is projected.
    width
        Number of features that come in.
    device
        Where they lie.
    """

    def __init__(self, settings: Projection | None, width: int, device: torch.device) -> None:
        self._matrix: torch.Tensor | None = None
        self.width = width
        if settings is not None and width > settings.n_components:
            matrix = projection_matrix(settings.n_components, width, settings.seed)
            self._matrix = matrix.to(device)
            self.width = settings.n_components

    def apply(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, width) features to (B, n_components)."""
        if self._matrix is None:
            return features
        return (self._matrix.to(features.dtype) @ features.T).T
