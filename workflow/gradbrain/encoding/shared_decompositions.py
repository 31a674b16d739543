"""Eigendecompositions that the fits of several people share.

Kernels follow from features, images and folds, and not from responses: people who saw the same
images have the same ones. Fits in one process then decompose each of them once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np

from gradbrain.encoding.backend import FLOATS, Array, Backend

#: What is kept of the latest decompositions; those of thousands of images are larger than that.
MAX_BYTES = 2**29


class SharedDecompositions:
    """A backend that remembers its latest decompositions.

    A matrix is known by a digest of all its bytes, so that results are those of the backend itself,
    to the last bit.

    Parameters
    ----------
    backend
        Where everything runs.
    max_bytes
        Size of eigenvalues and vectors that are kept.
    """

    def __init__(self, backend: Backend, max_bytes: int = MAX_BYTES) -> None:
        self.device = backend.device
        self.n_reused = 0
        self._backend, self._max_bytes, self._bytes = backend, max_bytes, 0
        self._kept: OrderedDict[bytes, tuple[FLOATS, FLOATS]] = OrderedDict()

    def asarray(self, values: FLOATS) -> Array:
        """Bring a numpy array to the device."""
        return self._backend.asarray(values)

    def to_numpy(self, array: Array) -> FLOATS:
        """Bring an array back."""
        return self._backend.to_numpy(array)

    def row_squares(self, array: Array) -> Array:
        """Sum of squares of every row."""
        return self._backend.row_squares(array)

    def product(self, left: FLOATS, right: FLOATS) -> FLOATS:
        """Matrix product of two arrays of the host."""
        return self._backend.product(left, right)

    def eigh(self, matrix: FLOATS) -> tuple[FLOATS, FLOATS]:
        """Decompose a symmetric positive semidefinite matrix, or look it up.

        Returns
        -------
        eigenvalues : array of shape (n,)
        vectors : array of shape (n, n)
            Both read-only.
        """
        # Vectors are as large as the matrix, and a digest of what cannot be kept would be waste.
        if matrix.nbytes > self._max_bytes:
            return self._backend.eigh(matrix)
        key = hashlib.blake2b(np.ascontiguousarray(matrix).data, digest_size=32).digest()
        if key in self._kept:
            self._kept.move_to_end(key)
            self.n_reused += 1
            return self._kept[key]
        found = self._backend.eigh(matrix)
        for part in found:
            part.setflags(write=False)
        self._kept[key] = found
        self._bytes += _size(found)
        while self._bytes > self._max_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return found


def _size(found: tuple[FLOATS, FLOATS]) -> int:
    return found[0].nbytes + found[1].nbytes
