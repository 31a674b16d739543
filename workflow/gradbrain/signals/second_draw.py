"""Draw signals that depend on chance a second time, and measure how well they repeat themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins, uncertain_signals
from gradbrain.config.schema import ModelEntry, ReliabilitySettings, SignalEntry, SignalSet
from gradbrain.models.build import VisionModel, build_model
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.device import Compute
from gradbrain.signals.extraction import SignalExtractor
from gradbrain.signals.feedback import fitted_stores, open_all_fitted
from gradbrain.signals.image_stream import StimulusImages, StoredImages
from gradbrain.signals.needs import needed_chain, uses_of
from gradbrain.signals.progress import Progress
from gradbrain.signals.reliability import (
    DRAWS_PER_HALF,
    DRAWS_USED,
    FLOATS,
    ActivationRegression,
    Sample,
    centred_cosine,
    spearman_brown,
)
from gradbrain.store import FeatureStore, StoreError, open_layers
from gradbrain.vocabulary.artefacts import columns_of

log = logging.getLogger(__name__)

#: Independent draw that the one in use, number 0, is compared with.
REPLICATE = 1


@dataclass(frozen=True)
class ReliabilityJob:
    """Everything that one measurement is told.

    Attributes
    ----------
    study
        Name of the study.
    entry, signal_set
        Registry entries.
    features
        Feature stores of all layers that the study takes from the model, in order of depth.
    stimuli, stimuli_name, calibration
        Tables of the stimulus sets, and the name of the former.
    data
        Folder below which checkpoints lie.
    batch_size
        Images per batch.
    settings
        Section ``reliability`` of the study.
    chain, feedback, plugins
        As for extraction.
    """

    study: str
    entry: ModelEntry
    signal_set: SignalSet
    features: tuple[Path, ...]
    stimuli: Path
    stimuli_name: str
    calibration: Path
    data: Path
    batch_size: int
    settings: ReliabilitySettings
    chain: tuple[str, ...] = ()
    feedback: tuple[Path, ...] = ()
    plugins: Plugins = LIBRARY_PLUGINS


def measure_reliability(job: ReliabilityJob, compute: Compute) -> pd.DataFrame:
    """Measure how well signals repeat themselves, alone and beyond all layers' activations.

    Parameters
    ----------
    job
        What is measured.
    compute
        Device and precision, those of the extraction.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``reliability``: a row per layer and signal with Monte-Carlo
        randomness.

    Raises
    ------
    GradbrainError
        No signal depends on chance, features are of other weights or images than are here, or
        model, stimuli, calibration or signals are not as they should be.
    """
    signals = uncertain_signals(job.signal_set, job.plugins)
    if not signals:
        raise SignalError(
            f"signal set {job.signal_set.name!r}: no signal of it has Monte-Carlo randomness, so "
            "there is nothing to measure; expected one whose plug-in declares "
            '`randomness = {"views": "monte_carlo"}` or the like'
        )
    images = StimulusImages.read(job.stimuli, job.entry)
    stores = open_layers(job.features, np.array(images.image_ids), job.stimuli)
    settings = job.settings
    sample = Sample.draw(
        images.table["group"],
        n_images=settings.n_images,
        max_training_images=settings.max_training_images,
        seed=settings.seed,
    )
    drawn = _second_draw(job, signals, stores, images, sample, compute)
    pool = [store.of_images(store.image_ids[sample.pool], job.stimuli) for store in stores]
    log.info("regress on the activations of %d layers, %d images", len(stores), len(sample.pool))
    regression = ActivationRegression(
        (store.values(store.activation) for store in pool), sample, settings.seed
    )
    found = [
        {
            "study": job.study,
            "model": job.entry.name,
            "signal_set": job.signal_set.name,
            "stimuli": job.stimuli_name,
            "layer": store.layer,
            "depth": float(store.attrs["depth"]),
            "signal": signal.name,
            "role": signal.role,
            "rule": signal.rule,
            "objective": signal.objective or "",
            **_reliabilities(
                store.values(store.signal(signal.name)),
                drawn[store.layer][signal.name],
                sample,
                regression,
            ),
            "n_images": len(sample.images),
            "n_training_images": regression.n_training,
        }
        for store in pool
        for signal in signals
    ]
    return pd.DataFrame.from_records(found)[list(columns_of("reliability"))]


def _reliabilities(
    used: FLOATS, other: FLOATS, sample: Sample, regression: ActivationRegression
) -> dict[str, float]:
    """Columns that say how well a signal repeats itself, from both of its draws.

    Parameters
    ----------
    used
        Shape (n_pool, n_features).
    other
        Shape (n_images, n_features).
    sample, regression
        Images, and the regression on all layers' activations.
    """
    lengthening = DRAWS_USED / DRAWS_PER_HALF
    alone = centred_cosine(used[sample.places], other)
    rest = regression.reliability_of_rest(used, other)
    return {
        "split_half": alone,
        "reliability": spearman_brown(alone, lengthening),
        "unique_split_half": rest,
        "unique_reliability": spearman_brown(rest, lengthening),
    }


def _second_draw(
    job: ReliabilityJob,
    signals: Sequence[SignalEntry],
    stores: Sequence[FeatureStore],
    images: StimulusImages,
    sample: Sample,
    compute: Compute,
) -> Mapping[str, Mapping[str, FLOATS]]:
    """Take another draw of some signals in one pass over the images of the sample.

    Returns
    -------
    mapping
        Layer -> signal -> features, shape (n_images, n_features), images in the sample's order.
    """
    calibration = StimulusImages.read(job.calibration, job.entry)
    model = build_model(
        job.entry,
        data=job.data,
        device=compute.device,
        autocast=compute.autocast,
        view_autocast=compute.view_autocast,
        plugins=job.plugins,
    )
    digests = {
        "weights_digest": model.weights_digest,
        "calibration_digest": calibration.digest,
    }
    _check_origin(stores, {**digests, "stimuli_digest": images.digest}, compute.precision)
    extractor = _extractor(job, signals, stores, model, calibration, digests, compute)
    chosen = StimulusImages(images.table.iloc[sample.images], job.entry, str(job.stimuli))
    parts: dict[str, dict[str, list[FLOATS]]] = {
        store.layer: {signal.name: [] for signal in signals} for store in stores
    }
    lengths: dict[str, list[FLOATS]] = {store.layer: [] for store in stores}
    with Progress(total=len(chosen), name=job.entry.name, device=compute.device) as progress:
        for batch in chosen.batches(job.batch_size, compute.device):
            for layer, taken in extractor.take(batch).items():
                lengths[layer].append(taken.magnitude)
                for name, values in taken.features.items():
                    parts[layer][name].append(values)
            progress.update(len(batch))
    return {
        store.layer: {
            signal.name: _as_stored(
                store,
                signal,
                np.concatenate(parts[store.layer][signal.name]),
                np.concatenate(lengths[store.layer])[:, place],
            )
            for place, signal in enumerate(signals)
        }
        for store in stores
    }


def _as_stored(
    store: FeatureStore, signal: SignalEntry, directions: FLOATS, lengths: FLOATS
) -> FLOATS:
    """Put the log magnitude beside directions as the first draw has it, where it does."""
    columns = store.magnitude_columns(store.signal(signal.name))
    return directions if columns is None else columns.beside(directions, lengths)


def _extractor(
    job: ReliabilityJob,
    signals: Sequence[SignalEntry],
    stores: Sequence[FeatureStore],
    model: VisionModel,
    calibration: StimulusImages,
    digests: Mapping[str, str],
    compute: Compute,
) -> SignalExtractor:
    """Build what takes the second draw, with the fitted models of the first."""
    uses = uses_of(job.signal_set.signals, job.plugins)
    fitted = open_all_fitted(
        job.entry,
        job.signal_set,
        uses,
        needed_chain(job.signal_set, uses, job.chain),
        fitted_stores(job.signal_set, uses, job.feedback),
        digests,
        plugins=job.plugins,
    )
    stored = StoredImages(calibration, job.batch_size, compute.device)
    return SignalExtractor(
        model,
        [store.layer for store in stores],
        job.signal_set.model_copy(update={"signals": tuple(signals)}),
        CalibrationBank(model, stored.batches),
        plugins=job.plugins,
        chain=job.chain,
        fitted={name: one.content for name, one in fitted.items()},
        replicate=REPLICATE,
    )


def _check_origin(
    stores: Sequence[FeatureStore], digests: Mapping[str, str], precision: str
) -> None:
    """Refuse features that were made from other weights, images or in another precision."""
    for store in stores:
        for name, expected in {**digests, "precision": precision}.items():
            found = store.attrs.get(name)
            if found != expected:
                raise StoreError(
                    f"{store.path}: its attribute {name} is {found!r}, and what a second draw is "
                    f"made from has {expected!r}: two draws of one signal must differ by chance "
                    "alone; make the features again"
                )
