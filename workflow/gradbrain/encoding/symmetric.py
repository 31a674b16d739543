"""Symmetric matrices as rows of numbers, without what lies left of the diagonal.

Variance components are made of inner products of symmetric matrices of all pairs of images. Held in
blocks of rows, from the diagonal of each block to the right, such a matrix takes six tenths of its
entries; with what lies beyond the diagonal blocks times √2, the inner product of two of them is
that of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FLOATS = NDArray[np.floating]
#: Rows of a block: more leave out less, fewer make products of small matrices.
ROWS_AT_ONCE = 64
# Permutations that are looked at together: 5 MB of 320 images.
DRAWS_AT_ONCE = 20
# Matrices of one product: always as many, since the last digit of a sum hangs on how wide a product
# is, and must not hang on which other signals there are.
MATRICES_AT_ONCE = 8


@dataclass(frozen=True)
class UpperBlocks:
    """How symmetric matrices of one size are held.

    Attributes
    ----------
    n
        Rows of a matrix.
    """

    n: int

    @cached_property
    def parts(self) -> list[tuple[slice, slice, tuple[int, int]]]:
        """Of every block its rows, its place among the numbers, and its shape."""
        found, place = [], 0
        for start in range(0, self.n, ROWS_AT_ONCE):
            shape = (min(ROWS_AT_ONCE, self.n - start), self.n - start)
            stop = place + shape[0] * shape[1]
            found.append((slice(start, start + shape[0]), slice(place, stop), shape))
            place = stop
        return found

    @property
    def size(self) -> int:
        """Numbers of a matrix."""
        return self.parts[-1][1].stop

    @cached_property
    def scale(self) -> FLOATS:
        """Factor of every number: 1 in blocks on the diagonal, √2 beyond; shape (size,)."""
        return self.pack(np.ones((self.n, self.n)))

    def pack(self, matrix: FLOATS) -> FLOATS:
        """Hold a matrix.

        Parameters
        ----------
        matrix
            Shape (n, n). Symmetric.

        Returns
        -------
        array of shape (size,)
        """
        packed = np.empty(self.size)
        for rows, block in self._blocks(packed):
            block[:] = matrix[rows, rows.start :]
            block[:, len(block) :] *= np.sqrt(2.0)
        return packed

    def outer(self, root: FLOATS, out: FLOATS) -> None:
        """Hold a matrix times its transpose.

        Parameters
        ----------
        root
            Shape (n, rank).
        out
            Shape (size,). Where it is held.
        """
        for rows, block in self._blocks(out):
            np.matmul(root[rows], root[rows.start :].T, out=block)
            block[:, len(block) :] *= np.sqrt(2.0)

    def unpack(self, packed: FLOATS) -> FLOATS:
        """Give the matrix back, shape (n, n)."""
        matrix = np.empty((self.n, self.n))
        for rows, block in self._blocks(packed):
            matrix[rows, rows] = block[:, : len(block)]
            beyond = block[:, len(block) :] / np.sqrt(2.0)
            matrix[rows, rows.stop :] = beyond
            matrix[rows.stop :, rows] = beyond.T
        return matrix

    def _blocks(self, packed: FLOATS) -> Iterator[tuple[slice, FLOATS]]:
        for rows, place, shape in self.parts:
            yield rows, packed[place].reshape(shape)

    def permuted_products(
        self, packed: FLOATS, matrix: FLOATS, permutations: NDArray[np.intp]
    ) -> FLOATS:
        """Inner products with a matrix whose rows and columns are permuted.

        Parameters
        ----------
        packed
            Shape (n_matrices, size).
        matrix
            Shape (n, n). Symmetric.
        permutations
            Shape (n_draws, n).

        Returns
        -------
        array of shape (n_draws, n_matrices), float64
            Summed in single precision: right to a millionth of the spread of the draws. The column
            of a matrix is the same whatever the others are.
        """
        single = matrix.astype(np.float32)
        # What is moved has no factor of its own.
        n_groups = -(-len(packed) // MATRICES_AT_ONCE)
        fixed = np.zeros((n_groups * MATRICES_AT_ONCE, self.size), np.float32)
        np.multiply(packed, self.scale, out=fixed[: len(packed)], casting="same_kind")
        found = np.empty((len(permutations), len(fixed)))
        buffer = np.empty((min(DRAWS_AT_ONCE, len(permutations)), self.size), np.float32)
        for start in range(0, len(permutations), DRAWS_AT_ONCE):
            orders = permutations[start : start + DRAWS_AT_ONCE]
            moved = buffer[: len(orders)]
            for row, order in zip(moved, orders, strict=True):
                for rows, block in self._blocks(row):
                    # Of indices that are known to be in range; checking takes as long as the rest.
                    single[order[rows]].take(order[rows.start :], axis=1, out=block, mode="clip")
            for first in range(0, len(fixed), MATRICES_AT_ONCE):
                own = slice(first, first + MATRICES_AT_ONCE)
                found[start : start + len(orders), own] = moved @ fixed[own].T
        return found[:, : len(packed)]
