"""Stimuli as batches of network inputs, decoded by threads while the network computes."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch

from gradbrain.config.schema import ModelEntry
from gradbrain.models.preprocess import to_input
from gradbrain.objectives.base import NO_LABEL, ImageBatch
from gradbrain.signals import SignalError
from gradbrain.signals.stimulus_files import checked_image
from gradbrain.store import read_table
from gradbrain.vocabulary.artefacts import CAPTION

DECODING_THREADS = 2
BATCHES_AHEAD = 2


class StimulusImages:
    """The images of one stimulus table, as one network sees them.

    Parameters
    ----------
    table
        Stimulus table; with captions where images have one.
    entry
        Model entry: size, crop and interpolation.
    where
        File of the table, for errors.
    """

    def __init__(self, table: pd.DataFrame, entry: ModelEntry, where: str) -> None:
        if table.empty or table["image_id"].duplicated().any():
            repeated = table["image_id"][table["image_id"].duplicated()].head(3).tolist()
            raise SignalError(
                f"{where}: expected at least one image and distinct image ids, found "
                f"{len(table)} rows with the repeated ids {repeated}"
            )
        self.table, self.entry, self.where = table.reset_index(drop=True), entry, where
        labels = self.table["label"].astype("Int64").fillna(NO_LABEL)
        self._labels = torch.from_numpy(labels.to_numpy(dtype="int64"))
        self._captions = _captions(self.table)

    @classmethod
    def read(cls, path: Path, entry: ModelEntry) -> StimulusImages:
        """Read a stimulus table."""
        return cls(read_table(path, kind="stimuli"), entry, str(path))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def image_ids(self) -> list[str]:
        """Ids in the order of the table."""
        return [str(name) for name in self.table["image_id"]]

    @property
    def contents(self) -> set[str]:
        """Digests of the decoded images."""
        return set(self.table["content_sha256"])

    @property
    def digest(self) -> str:
        """SHA-256 over ids, labels, contents and, if there are any, captions in order."""
        columns = [self.image_ids, self._labels.tolist(), self.table["content_sha256"]]
        if any(caption is not None for caption in self._captions):
            columns.append(self._captions)
        rows = zip(*columns, strict=True)
        return hashlib.sha256(repr(list(rows)).encode()).hexdigest()

    def _decode(self, row: int) -> torch.Tensor:
        """Decode one image, check its content and bring it to the input size."""
        return to_input(checked_image(self.table.iloc[row], self.where), self.entry)

    def _batch(self, rows: range, inputs: list[torch.Tensor], device: torch.device) -> ImageBatch:
        stacked = torch.stack(inputs)
        if device.type == "cuda":
            stacked = stacked.pin_memory().to(device, non_blocking=True)
        names = tuple(self.image_ids_of(rows))
        part = slice(rows.start, rows.stop)
        return ImageBatch(names, stacked, self._labels[part].to(device), self._captions[part])

    def image_ids_of(self, rows: range) -> list[str]:
        """Ids of some rows."""
        return [str(name) for name in self.table["image_id"].iloc[rows.start : rows.stop]]

    def batches(self, size: int, device: torch.device) -> Generator[ImageBatch, None, None]:
        """Iterate over the images in order, decoding ahead of the network.

        At most ``BATCHES_AHEAD`` batches wait, so memory does not grow with the number of images.

        Parameters
        ----------
        size
            Images per batch.
        device
            Where the batches lie.
        """
        starts = range(0, len(self), size)
        ranges = deque(range(start, min(start + size, len(self))) for start in starts)
        waiting: deque[tuple[range, list[Future[torch.Tensor]]]] = deque()
        with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode") as pool:
            try:
                while ranges or waiting:
                    while ranges and len(waiting) <= BATCHES_AHEAD:
                        rows = ranges.popleft()
                        waiting.append((rows, [pool.submit(self._decode, row) for row in rows]))
                    rows, futures = waiting.popleft()
                    yield self._batch(rows, [future.result() for future in futures], device)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _captions(table: pd.DataFrame) -> tuple[str | None, ...]:
    """Caption of each image; None where there is none, and in tables without the column."""
    if CAPTION not in table.columns:
        return (None,) * len(table)
    return tuple(None if pd.isna(caption) else str(caption) for caption in table[CAPTION])


class StoredImages:
    """Images decoded once and kept as bytes: for calibration sets, which are passed over often.

    They are decoded when they are first asked for: a job whose objectives were fitted elsewhere
    needs none.

    Parameters
    ----------
    images
        Stimuli to keep.
    size
        Images per batch.
    device
        Where the batches lie.
    """

    def __init__(self, images: StimulusImages, size: int, device: torch.device) -> None:
        self._images, self._size, self._device = images, size, device

    @cached_property
    def _batches(self) -> list[ImageBatch]:
        # An input is a multiple of 1/255, so a byte holds it exactly.
        return [
            batch.with_raw(batch.raw.mul(255).round_().to(torch.uint8))
            for batch in self._images.batches(self._size, torch.device("cpu"))
        ]

    def batches(self) -> Iterator[ImageBatch]:
        """Iterate over the images in order."""
        for batch in self._batches:
            raw = batch.raw.to(self._device).to(torch.float32).div_(255)
            labels = batch.labels.to(self._device)
            # What was computed of their views stays: every objective and its control asks again.
            yield ImageBatch(batch.image_ids, raw, labels, batch.captions, batch.views)


def check_disjoint(stimuli: StimulusImages, calibration: StimulusImages) -> None:
    """Refuse calibration images that are stimuli.

    Raises
    ------
    SignalError
        An image of the one set has the content of an image of the other.
    """
    shared = stimuli.contents & calibration.contents
    if shared:
        table = calibration.table
        names = table["image_id"][table["content_sha256"].isin(shared)].head(5).tolist()
        raise SignalError(
            f"{calibration.where}: {len(shared)} calibration image(s) have the content of stimuli "
            f"in {stimuli.where} (e.g. {', '.join(map(str, names))}); what is fitted must be "
            "fitted on other images: name another calibration set in the signal set"
        )
