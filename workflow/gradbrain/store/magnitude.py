"""The magnitude of a signal as a feature beside its direction.

Unit length takes the magnitude away. Its logarithm is a feature of its own (*ours*): magnitudes of
gradients spread over orders of magnitude and are never negative, so that ridge regression on them
as they are would follow the few largest.

Every stage standardises its columns, which gives all of them one weight under the penalty. A single
column beside 1,024 others is then out of reach: what follows it alone is held out with R² = −.01 of
.30 (250 images, simulated). The column therefore stands there several times, as many as hold
`SHARE` of the variance, which is the same as one column of that weight, whoever standardises. The
share was chosen on simulated data (docs/calibration.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOATS = NDArray[np.floating]

#: Share of the variance of standardised features that the log magnitude has.
SHARE = 0.1
# A logarithm that varies by less is of magnitudes that are equal up to the rounding of float32.
CONSTANT = 1e-5


@dataclass(frozen=True)
class MagnitudeColumns:
    """The columns that hold the log magnitude of a signal.

    Attributes
    ----------
    count
        Equal columns.
    floor
        Log magnitude of an image whose signal is zero: the smallest of those that are not. Such a
        signal has no direction either, and an infinite value would be all that is fitted. NaN where
        all are zero.
    scale
        Brings the column to the root mean variance of the direction's features; 0 where magnitudes
        do not differ, so that the columns are constant.
    """

    count: int
    floor: float
    scale: float

    @classmethod
    def of(cls, directions: FLOATS, lengths: FLOATS) -> MagnitudeColumns:
        """Choose the columns for all images of a store.

        Parameters
        ----------
        directions
            Shape (n_images, n_features), of unit length.
        lengths
            Shape (n_images,), not negative.
        """
        variances = directions.var(axis=0, dtype=np.float64)
        count = max(1, round(np.count_nonzero(variances) * SHARE / (1.0 - SHARE)))
        known = lengths > 0
        floor = float(np.log(lengths[known].min())) if known.any() else np.nan
        spread = float(_logarithm(lengths, floor).std())
        if not spread > CONSTANT:
            return cls(count, floor, 0.0)
        varying = variances[variances > 0]
        own = float(np.sqrt(varying.mean())) if varying.size else 1.0
        return cls(count, floor, own / spread)

    def beside(self, directions: FLOATS, lengths: FLOATS) -> FLOATS:
        """Put the log magnitude beside directions.

        Parameters
        ----------
        directions
            Shape (n_images, n_features).
        lengths
            Shape (n_images,), not negative.

        Returns
        -------
        array of shape (n_images, n_features + count)
            In the dtype of `directions`.
        """
        column = self.scale * _logarithm(lengths, self.floor)[:, None]
        repeated = np.repeat(column.astype(directions.dtype), self.count, axis=1)
        return np.concatenate([directions, repeated], axis=1)


def _logarithm(lengths: FLOATS, floor: float) -> NDArray[np.float64]:
    """Natural logarithm; the floor where a length is zero, zeros where all are."""
    if np.isnan(floor):
        return np.zeros(len(lengths))
    known = lengths > 0
    return np.where(known, np.log(np.where(known, lengths, 1.0).astype(np.float64)), floor)
