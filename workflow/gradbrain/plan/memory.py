"""Memory that jobs ask for, from the sizes of what they read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradbrain.plan.parts import PlanPart
from gradbrain.store import array_shape
from gradbrain.vocabulary.artefacts import SIGNALS

if TYPE_CHECKING:
    from gradbrain.plan.jobs import Plan

# Measured by benchmarks/bench_fit_memory.py (4.5 MB per MB of responses and 340 MB), rounded up,
# with 2 GB for features of some thousand columns.
FIT_BASE_MB = 3000
FIT_MB_PER_RESPONSE_MB = 5.5
REDUCTION_MB = 16000


class JobMemory(PlanPart):
    """Memory of the fits of a study, and of what is made for them."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._fits: dict[str, int] = {}

    def of_fit(self, subject: str) -> int:
        """Memory of a fit in MB, from the size of the responses; more of it after a failure.

        Before the responses are made their size is not known; Snakemake asks again when they are.
        """
        if subject not in self._fits:
            shape = array_shape(self._plan.path("responses", subject=subject), "response")
            if shape is None:
                return FIT_BASE_MB
            size = math.ceil(FIT_MB_PER_RESPONSE_MB * 4 * math.prod(shape) / 2**20)
            self._fits[subject] = FIT_BASE_MB + size
        return self._fits[subject]

    def of_reduction(self, model: str, subject: str) -> int:
        """Memory of a reduction in MB, from the number of images and of all features.

        The kernel of the images and its decomposition, and the features twice, in float64.
        Before features and responses are made their sizes are not known.
        """
        responses = array_shape(self._plan.path("responses", subject=subject), "response")
        activation = f"{SIGNALS}/{self._study.signal_set.activation}"
        shapes = [
            array_shape(path, activation)
            for path in self._plan.features_for_subject(model, subject)
        ]
        if responses is None or None in shapes:
            return REDUCTION_MB
        n_images, width = responses[0], sum(shape[1] for shape in shapes if shape is not None)
        small = min(n_images, width)
        return FIT_BASE_MB + math.ceil(8 * (4 * small**2 + 3 * n_images * width) / 2**20)
