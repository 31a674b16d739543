"""When responses do not vary, so that a ratio to their variance is a ratio to rounding.

A voxel may be dead in one session, a sensor saturated in one run: over the images of a fold its
responses are constant, and R², relative to the variance that is not there, is any number. Such a
target is left out of that fold, and counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLOATS = NDArray[np.floating]

#: Share of the variance over other images of the same target up to which its variance counts as
#: none. A thousandth of the standard deviation: thousands of times the rounding of responses in
#: single precision, and less than noise leaves of any target that was recorded.
SMALLEST_SHARE = 1e-6


def varies(variance: FLOATS, reference: FLOATS) -> NDArray[np.bool_]:
    """Tell where responses vary, compared with other images of the same targets.

    Parameters
    ----------
    variance
        Shape (...). Over the images in question, in the unit of the responses squared.
    reference
        Shape (...). Over the images that they are compared with.

    Returns
    -------
    array of shape (...), bool
        False where both are zero.
    """
    return np.asarray(variance > SMALLEST_SHARE * reference)
