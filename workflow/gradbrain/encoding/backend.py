"""Where the solver's matrix products and decompositions run: numpy, or torch on CPU or GPU.

Arrays rest with the host as numpy arrays and move batch by batch, so that the memory of a GPU is
bounded by the batch of targets as that of the host is. Small arrays (eigenvalues, penalties, the
errors of a batch) are always numpy's. Both backends give the same eigenvalues and errors up to
rounding, hence the same choices but for near-ties.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gradbrain.encoding.errors import EncodingError
from gradbrain.store.gpu_lock import use_free_gpu

FLOATS = NDArray[np.floating]
# A numpy array or a torch tensor; the solver uses only what both understand.
Array = Any
BackendName = Literal["numpy", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]


class Backend(Protocol):
    """What the solver needs besides the operators that numpy arrays and tensors share."""

    device: str

    def asarray(self, values: FLOATS) -> Array:
        """Bring a numpy array to the device; without a copy where it is there already."""

    def to_numpy(self, array: Array) -> FLOATS:
        """Bring an array back."""

    def row_squares(self, array: Array) -> Array:
        """Sum of squares of every row."""

    def eigh(self, matrix: FLOATS) -> tuple[FLOATS, FLOATS]:
        """Decompose a symmetric positive semidefinite matrix in float64; clipped at zero."""

    def product(self, left: FLOATS, right: FLOATS) -> FLOATS:
        """Matrix product of two arrays of the host."""


class NumpyBackend:
    """The arrays themselves."""

    device = "cpu"

    def asarray(self, values: FLOATS) -> Array:
        """Return the array."""
        return values

    def to_numpy(self, array: Array) -> FLOATS:
        """Return the array."""
        return array

    def row_squares(self, array: Array) -> Array:
        """Sum of squares of every row."""
        return np.einsum("ij,ij->i", array, array)

    def eigh(self, matrix: FLOATS) -> tuple[FLOATS, FLOATS]:
        """Decompose by LAPACK's divide and conquer, which numpy takes without scipy's import."""
        eigenvalues, vectors = np.linalg.eigh(matrix)
        return np.maximum(eigenvalues, 0.0), vectors

    def product(self, left: FLOATS, right: FLOATS) -> FLOATS:
        """Matrix product."""
        return left @ right


class TorchBackend:
    """Tensors on a CPU or a GPU.

    Parameters
    ----------
    device
        ``auto`` takes a GPU where there is one; of several, one that no other job has taken.

    Raises
    ------
    EncodingError
        If a GPU is asked for and there is none.
    """

    def __init__(self, device: DeviceName = "auto"):
        import torch

        has_gpu = torch.cuda.is_available()
        if device == "cuda" and not has_gpu:
            raise EncodingError(
                "device 'cuda' is asked for but torch finds no GPU; set encoding.device to auto "
                "or cpu"
            )
        self.device = "cuda" if has_gpu and device != "cpu" else "cpu"
        if self.device == "cuda":
            use_free_gpu(torch.cuda)
            # TF32 keeps 10 bits of a factor: results would depend on the device.
            torch.backends.cuda.matmul.allow_tf32 = False
        self._torch = torch

    def asarray(self, values: FLOATS) -> Array:
        """Bring a numpy array to the device; on a CPU the tensor shares its memory."""
        contiguous = np.ascontiguousarray(values)
        if not contiguous.flags.writeable:
            contiguous = contiguous.copy()
        return self._torch.from_numpy(contiguous).to(self.device)

    def to_numpy(self, array: Array) -> FLOATS:
        """Bring a tensor back."""
        return array.cpu().numpy()

    def row_squares(self, array: Array) -> Array:
        """Sum of squares of every row."""
        return (array * array).sum(dim=1)

    def eigh(self, matrix: FLOATS) -> tuple[FLOATS, FLOATS]:
        """Decompose on the device."""
        eigenvalues, vectors = self._torch.linalg.eigh(self.asarray(matrix))
        return np.maximum(self.to_numpy(eigenvalues), 0.0), self.to_numpy(vectors)

    def product(self, left: FLOATS, right: FLOATS) -> FLOATS:
        """Matrix product on the device."""
        return self.to_numpy(self.asarray(left) @ self.asarray(right))


NUMPY = NumpyBackend()


def make_backend(name: BackendName, device: DeviceName = "auto") -> Backend:
    """Choose a backend; torch is imported only when it is asked for.

    Parameters
    ----------
    name
        Name of the backend.
    device
        Of torch.

    Returns
    -------
    Backend
    """
    return TorchBackend(device) if name == "torch" else NUMPY
