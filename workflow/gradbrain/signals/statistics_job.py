"""The image statistics of a stimulus set, written as feature stores like those of a network."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins
from gradbrain.config.schema import ModelEntry, SignalSet
from gradbrain.models.crop import square_crop
from gradbrain.signals import SignalError
from gradbrain.signals.image_statistics import WIDTHS, image_statistics
from gradbrain.signals.layer_stores import (
    OBJECTIVE_VALUE,
    LayerRequest,
    LayerStores,
    array_of,
    finished_path,
    layer_attributes,
    publish,
)
from gradbrain.signals.stimulus_files import checked_image
from gradbrain.store import read_table, remove_store
from gradbrain.store.feature_signals import MAGNITUDE

log = logging.getLogger(__name__)

# Images whose statistics are held at once.
BLOCK = 64


@dataclass(frozen=True)
class StatisticsJob:
    """Everything that one job is told.

    Attributes
    ----------
    entry
        Model of the registry, of ``source: statistics``.
    signal_set
        The activation alone, under the name of the study's signal set.
    levels
        Levels and their stores.
    stimuli, stimuli_name
        Table of the stimulus set, and the name under which features are filed.
    code_digest
        Digest of the code that makes the features.
    threads
        Images at a time.
    plugins
        Where rules are looked up.
    """

    entry: ModelEntry
    signal_set: SignalSet
    levels: tuple[LayerRequest, ...]
    stimuli: Path
    stimuli_name: str
    code_digest: str
    threads: int = 1
    plugins: Plugins = LIBRARY_PLUGINS


def run_statistics(job: StatisticsJob) -> None:
    """Take the statistics of all images; the result depends on no number of threads.

    Raises
    ------
    GradbrainError
        A level does not exist, there is no image or two of one id, or one cannot be read or is not
        that of the table.
    """
    unknown = sorted({level.name for level in job.levels} - set(WIDTHS))
    if unknown:
        raise SignalError(
            f"model {job.entry.name!r}: there is no level {', '.join(unknown)} of image "
            f"statistics; there are {', '.join(WIDTHS)}"
        )
    table = read_table(job.stimuli, kind="stimuli")
    names = [str(name) for name in table["image_id"]]
    if not names or len(set(names)) < len(names):
        raise SignalError(
            f"{job.stimuli}: expected at least one image and distinct image ids, found "
            f"{len(names)} rows with {len(set(names))} ids"
        )
    attributes = {
        level.name: layer_attributes(
            level,
            entry=job.entry,
            signal_set=job.signal_set,
            stimuli=job.stimuli_name,
            plugins=job.plugins,
            pooling="none",
            stimuli_digest=_digest(table),
            code_digest=job.code_digest,
        )
        for level in job.levels
    }
    widths = {level.name: WIDTHS[level.name] for level in job.levels}
    signals = job.signal_set.signals
    for level in job.levels:
        # Left by an interrupted job; the whole takes minutes.
        remove_store(finished_path(level.output))
    with LayerStores(job.levels, attributes, names, widths, signals) as stores:
        for start, rows in _blocks(job, table):
            for name, values in rows.items():
                stores.write_rows(start, name, _as_features(values, signals[0].name))
            log.info("%d of %d images", min(start + BLOCK, len(table)), len(table))
        stores.finish({level.name: {} for level in job.levels})
    publish([level.output for level in job.levels])


def _blocks(job: StatisticsJob, table: pd.DataFrame) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """First image of each block, and level -> features of its images."""

    def statistics(row: int) -> dict[str, np.ndarray]:
        record = table.iloc[row]
        image = checked_image(record, str(job.stimuli))
        found = image_statistics(square_crop(image, job.entry))
        for level, values in found.items():
            if not np.isfinite(values).all():
                raise SignalError(
                    f"{job.stimuli}: level {level!r} of image {record['image_id']!r} "
                    f"({record['locator']}) is not finite"
                )
        return found

    with ThreadPoolExecutor(job.threads, thread_name_prefix="statistics") as pool:
        for start in range(0, len(table), BLOCK):
            found = list(pool.map(statistics, range(start, min(start + BLOCK, len(table)))))
            yield (
                start,
                {
                    level.name: np.stack([one[level.name] for one in found]).astype(np.float32)
                    for level in job.levels
                },
            )


def _as_features(values: np.ndarray, activation: str) -> dict[str, np.ndarray]:
    """Rows of a feature store: features, no objective, their Euclidean length."""
    length = np.linalg.norm(values, axis=1, keepdims=True).astype(np.float32)
    return {
        array_of(activation): values,
        OBJECTIVE_VALUE: np.full_like(length, np.nan),
        MAGNITUDE: length,
    }


def _digest(table: pd.DataFrame) -> str:
    """SHA-256 over ids and contents of the images in order."""
    rows = list(zip(table["image_id"].astype(str), table["content_sha256"], strict=True))
    return hashlib.sha256(repr(rows).encode()).hexdigest()
