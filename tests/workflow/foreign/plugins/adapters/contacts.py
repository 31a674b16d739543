"""An adapter of one's own: contacts that lie elsewhere in each patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from gradbrain.config.plugins import PluginOptions
from gradbrain.datasets.adapter import DatasetAdapter
from gradbrain.datasets.errors import DatasetError
from gradbrain.datasets.responses import describe, sensor_responses


class ImageOptions(PluginOptions):
    """Options of images: there are none."""


class Options(ImageOptions):
    """Options of the adapter."""

    n_contacts: int = Field(4, ge=1, description="Contacts of a patient.")


class Adapter(DatasetAdapter):
    """Contacts that lie elsewhere in each patient."""

    image_options = ImageOptions

    def stimuli(self, entry, options, name: str, data: Path) -> pd.DataFrame:
        """There are none of its own: the images come from another entry."""
        raise DatasetError(f"{entry.name}: has no images of its own")

    def responses(
        self, entry: Any, options: Options, subject: str, stimuli: pd.DataFrame, data: Path,
        features: Sequence[Path],
    ):  # fmt: skip
        """Noise that is larger after the image came on."""
        rng = np.random.default_rng(sum(map(ord, subject)))
        time = np.linspace(-0.1, 0.4, 6)
        values = rng.standard_normal((len(stimuli), len(time), options.n_contacts))
        names = [f"{subject} {number}" for number in range(options.n_contacts)]
        nowhere = np.full(options.n_contacts, np.nan)
        return sensor_responses(
            values,
            pd.DataFrame({"sensor": names, "sensor_x": nowhere, "sensor_y": nowhere}),
            time=time,
            stimuli=stimuli,
            n_repeats=1,
            noise_ceiling=np.full((len(time), options.n_contacts), np.nan),
            attrs=describe(
                entry, subject, units=entry.modality.unit, space="contacts", preprocessing="none"
            ),
        )

    def check(self, entry, options, data: Path) -> list[str]:
        """Nothing can be missing."""
        return []

    def space(self, entry, options) -> str:
        """Contacts of patients, which are not the same places."""
        return "contacts"
