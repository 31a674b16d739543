"""Decompositions that several fits share: the same numbers, each kernel once, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from gradbrain.encoding.backend import NumpyBackend
from gradbrain.encoding.shared_decompositions import SharedDecompositions


class Counting(NumpyBackend):
    def __init__(self):
        self.n_decomposed = 0

    def eigh(self, matrix):
        self.n_decomposed += 1
        return super().eigh(matrix)


def kernel(seed: int, n: int = 12) -> np.ndarray:
    features = np.random.default_rng(seed).standard_normal((n, 5))
    return features @ features.T


def test_a_kernel_that_comes_again_is_not_decomposed_again():
    counting = Counting()
    shared = SharedDecompositions(counting)
    for seed in (0, 1, 0, 1, 0):
        found, expected = shared.eigh(kernel(seed)), NumpyBackend().eigh(kernel(seed))
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    assert (counting.n_decomposed, shared.n_reused) == (2, 3)


def test_kernels_that_differ_in_one_bit_are_not_taken_for_each_other():
    counting = Counting()
    shared = SharedDecompositions(counting)
    other = kernel(0)
    other[3, 3] = np.nextafter(other[3, 3], np.inf)
    shared.eigh(kernel(0))
    shared.eigh(other)
    assert counting.n_decomposed == 2


def test_what_is_shared_cannot_be_changed_by_one_of_its_users():
    _, vectors = SharedDecompositions(NumpyBackend()).eigh(kernel(0))
    with pytest.raises(ValueError, match="read-only"):
        vectors *= 2


def test_the_oldest_are_forgotten_when_there_is_no_room():
    counting = Counting()
    size = kernel(0).nbytes + 12 * 8
    shared = SharedDecompositions(counting, max_bytes=2 * size)
    for seed in (0, 1, 0, 2):
        shared.eigh(kernel(seed))
    # 1 has not been asked for as long as 0.
    shared.eigh(kernel(0))
    assert counting.n_decomposed == 3
    shared.eigh(kernel(1))
    assert counting.n_decomposed == 4


def test_a_kernel_larger_than_the_room_is_decomposed_every_time():
    counting = Counting()
    shared = SharedDecompositions(counting, max_bytes=100)
    shared.eigh(kernel(0))
    shared.eigh(kernel(0))
    assert counting.n_decomposed == 2
