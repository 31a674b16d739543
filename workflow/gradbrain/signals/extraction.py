"""Take all signals of a set from all named layers of a network, for every image of a stimulus set.

One forward pass serves all layers and signals; each objective costs one backward pass, which ends
at the first named layer. Features stream to one store per layer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins, ResolvedUse
from gradbrain.config.schema import ModelEntry, SignalEntry, SignalSet
from gradbrain.models.build import OutputName, VisionModel, build_model
from gradbrain.objectives import build_objective, own_weights
from gradbrain.objectives.base import BaseObjective, BoundObjective, ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.currency import is_current
from gradbrain.signals.device import Compute, is_out_of_memory, peak_gpu_mib
from gradbrain.signals.feedback import (
    FittedModel,
    fitted_stores,
    open_all_fitted,
)
from gradbrain.signals.image_stream import StimulusImages, StoredImages, check_disjoint
from gradbrain.signals.layer_stores import (
    KIND,
    MAGNITUDE,
    OBJECTIVE_VALUE,
    LayerRequest,
    LayerStores,
    array_of,
    finished_path,
    is_finished,
    layer_attributes,
    publish,
)
from gradbrain.signals.needs import needed_chain, place, plugins_of, uses_of
from gradbrain.signals.normalisation import VANISHING, unit_length, vector_norm
from gradbrain.signals.pooling import layout_of, pooling_function
from gradbrain.signals.progress import Progress
from gradbrain.signals.projection import RandomProjection
from gradbrain.signals.rounding import N_IMAGES, check_rounding, disturbed, relative_error
from gradbrain.signals.rule import Rule, RuleContext
from gradbrain.signals.tape import Taken, Tape, TapeRecorder
from gradbrain.store import remove_store
from gradbrain.vocabulary.roles import ACTIVATION

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchSignals:
    """Signals of one layer for one batch.

    Attributes
    ----------
    features
        Signal name -> (B, F) float32.
    objective_value
        (B, n_signals) float32; NaN for signals without objective.
    magnitude
        (B, n_signals) float32: Euclidean length of the pooled signal before normalisation.
    """

    features: dict[str, np.ndarray]
    objective_value: np.ndarray
    magnitude: np.ndarray

    def rows(self) -> dict[str, np.ndarray]:
        """Rows by variable of the feature store."""
        return {
            **{array_of(signal): values for signal, values in self.features.items()},
            OBJECTIVE_VALUE: self.objective_value,
            MAGNITUDE: self.magnitude,
        }


@dataclass
class _Source:
    """One signal: its entry, rule and objective, and what the rule needs of a pass."""

    entry: SignalEntry
    rule: Rule
    objective: BaseObjective | None
    graph: bool
    layers: tuple[str, ...]

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Let the rule see what it asked for, and no more."""
        outputs = (self.objective.output,) if self.objective else ()
        return self.rule.take(tape.part(self.layers, outputs), objective, keep_graph=keep_graph)


@dataclass
class _LayerReader:
    """Pools, projects and normalises the signals of one layer."""

    pool: Any
    projection: RandomProjection
    width: int
    zeros: Counter[str] = field(default_factory=Counter)
    vanishing: Counter[str] = field(default_factory=Counter)


class SignalExtractor:
    """Turn batches of images into the signals of all named layers.

    Parameters
    ----------
    model
        Network.
    layers
        Names of its layers.
    signal_set
        Signals, pooling, projection and normalisation.
    calibration
        Calibration images, or None where nothing needs any.
    plugins
        Where rules and objectives are looked up.
    chain
        Names of all layers of the network in order of depth, where a rule needs them.
    fitted
        Signal name -> its fitted model, where a rule needs one.
    replicate
        0: the draw of Monte-Carlo randomness (views, masks, perturbations) that is used; others
        are independent of it.

    Raises
    ------
    GradbrainError
        A rule or objective does not exist or has a wrong option, or what one needs is not given.
    """

    def __init__(
        self,
        model: VisionModel,
        layers: Sequence[str],
        signal_set: SignalSet,
        calibration: CalibrationBank | None,
        *,
        plugins: Plugins = LIBRARY_PLUGINS,
        chain: Sequence[str] = (),
        fitted: Mapping[str, xr.Dataset | xr.DataTree] | None = None,
        replicate: int = 0,
    ) -> None:
        self.replicate = replicate
        self.model, self.signal_set, self.layers = model, signal_set, tuple(layers)
        self._calibration, self._fitted = calibration, fitted or {}
        uses = uses_of(signal_set.signals, plugins)
        self.chain = needed_chain(signal_set, uses, chain)
        self.recorder = TapeRecorder(model, self.chain or layers)
        self._check_chain()
        self.sources = [self._source(entry, *uses[entry.name]) for entry in signal_set.signals]
        self.outputs: tuple[OutputName, ...] = tuple(
            sorted({source.objective.output for source in self.sources if source.objective})
        )
        if len(self.outputs) > 1:
            model.check_classifier()
        self._graph = any(source.graph for source in self.sources)
        self._readers = {name: self._reader(name) for name in layers}
        self._batch_limit: int | None = None
        self._rounding: dict[str, float] | None = None

    def _check_chain(self) -> None:
        """Refuse a chain that lacks a layer or does not run from input to output."""
        if not self.chain:
            return
        missing = [name for name in self.layers if name not in self.chain]
        if missing:
            raise SignalError(
                f"model {self.model.entry.name!r}: the chain of layers ({', '.join(self.chain)}) "
                f"lacks {', '.join(missing)}; give all layers of the model, as layers.csv lists "
                "them"
            )
        if self.recorder.order != self.chain:
            raise SignalError(
                f"model {self.model.entry.name!r}: the chain of layers is given as "
                f"{', '.join(self.chain)}, and the network calls them as "
                f"{', '.join(self.recorder.order)}; correct their order in layers.csv"
            )

    def _source(
        self, entry: SignalEntry, rule: ResolvedUse, objective: ResolvedUse | None = None
    ) -> _Source:
        needs, seed = rule.needs, self.signal_set.seed
        if "calibration" in needs and self._calibration is None:
            raise SignalError(
                f"{place(entry)}: rule {entry.rule!r} needs calibration images; name a stimulus "
                "set as `calibration` of the signal set"
            )
        if "fit" in needs and entry.name not in self._fitted:
            raise SignalError(f"{place(entry)}: rule {entry.rule!r} needs its fitted model")
        context = RuleContext(
            signal=entry,
            options=rule.options,
            model=self.model,
            seed=seed,
            calibration=self._calibration if "calibration" in needs else None,
            chain=self.chain if "chain" in needs else (),
            fitted=self._fitted[entry.name] if "fit" in needs else None,
            replicate=self.replicate,
        )
        built = None
        if objective is not None:
            built = build_objective(
                objective, self.model, self._calibration, seed=seed, replicate=self.replicate
            )
        return _Source(
            entry,
            rule.plugin.load().Rule(context),
            built,
            graph="graph" in needs,
            layers=self.chain if "chain" in needs else self.layers,
        )

    def _reader(self, layer: str) -> _LayerReader:
        shape = self.recorder.shapes[layer]
        layout = layout_of(self.model, layer, shape)
        pool = pooling_function(self.signal_set.pooling, layout, layer)
        device = self.model.device
        pooled = int(pool(torch.zeros(shape, device=device)).shape[1])
        projection = RandomProjection(self.signal_set.projection, pooled, device)
        return _LayerReader(pool, projection, projection.width)

    @property
    def widths(self) -> dict[str, int]:
        """Layer name -> number of features."""
        return {name: reader.width for name, reader in self._readers.items()}

    def take(self, batch: ImageBatch) -> dict[str, BatchSignals]:
        """Take all signals of all layers; halve the batch for good when memory runs out.

        Parameters
        ----------
        batch
            Images.

        Returns
        -------
        dict
            Layer name -> its signals, images in the order of the batch.

        Raises
        ------
        SignalError
            A single image does not fit into memory, or a signal is not finite.
        """
        while True:
            limit = min(len(batch), self._batch_limit or len(batch))
            counts = self._counts()
            try:
                starts = range(0, len(batch), limit)
                parts = [self._take(batch.part(slice(at, at + limit))) for at in starts]
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if limit == 1:
                    raise SignalError(
                        f"model {self.model.entry.name!r}: one image does not fit into the memory "
                        f"of {self.model.device}; take fewer layers per job (features.unit: layer)"
                    ) from error
                self._batch_limit = limit // 2
                self._restore(counts)
                log.warning("out of memory: batches of %d images from here on", limit // 2)
            else:
                found = parts[0] if len(parts) == 1 else _joined(parts)
                if self._rounding is None:
                    self._rounding = self._measure_rounding(batch, found)
                    check_rounding(self._rounding, model=self.model.entry.name)
                return found
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()

    def _counts(self) -> dict[str, tuple[Counter[str], Counter[str]]]:
        return {name: (+r.zeros, +r.vanishing) for name, r in self._readers.items()}

    def _restore(self, counts: Mapping[str, tuple[Counter[str], Counter[str]]]) -> None:
        for name, reader in self._readers.items():
            reader.zeros, reader.vanishing = counts[name]

    def _measure_rounding(
        self, batch: ImageBatch, found: Mapping[str, BatchSignals]
    ) -> dict[str, float]:
        """Take a few images again, disturbed as rounding does; signal -> largest error of a layer.

        The first batch tells; one image at a time, so that it fits wherever that did.
        """
        n_images, counts = min(N_IMAGES, len(batch)), self._counts()
        few = disturbed(batch.part(slice(0, n_images)))
        parts = [self._take(few.part(slice(at, at + 1))) for at in range(n_images)]
        self._restore(counts)
        again = _joined(parts)
        return {
            signal.name: max(
                relative_error(
                    found[layer].features[signal.name][:n_images],
                    again[layer].features[signal.name],
                )
                for layer in self.layers
            )
            for signal in self.signal_set.signals
        }

    def _take(self, batch: ImageBatch) -> dict[str, BatchSignals]:
        # Targets come first: their forward passes need no graph, and none is held yet.
        bound = [
            source.objective.bind(batch) if source.objective else None for source in self.sources
        ]
        tape = self.recorder.record(batch, self.outputs, graph=self._graph)
        last = max((i for i, s in enumerate(self.sources) if s.graph), default=-1)
        names = self.layers
        features: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
        shape = (len(batch), len(self.sources))
        values = np.full(shape, np.nan, dtype=np.float32)
        magnitudes = {name: np.zeros(shape, dtype=np.float32) for name in names}
        for index, source in enumerate(self.sources):
            taken = source.take(tape, bound[index], keep_graph=index < last)
            self._check_taken(source.entry, taken, tape)
            if taken.objective_value is not None:
                values[:, index] = taken.objective_value.float().cpu().numpy()
            for name in names:
                row, length = self._read(name, source.entry, taken.layers[name], batch)
                features[name][source.entry.name] = row
                magnitudes[name][:, index] = length
        return {name: BatchSignals(features[name], values, magnitudes[name]) for name in names}

    def _check_taken(self, signal: SignalEntry, taken: Taken, tape: Tape) -> None:
        """Refuse what a rule gave where a layer is missing or of another shape."""
        at = f"model {self.model.entry.name!r}, signal {signal.name!r}: rule {signal.rule!r}"
        for name in self.layers:
            if name not in taken.layers:
                raise SignalError(
                    f"{at} gave nothing for layer {name!r}; take must give a tensor for every "
                    "layer that is stored"
                )
            found, expected = tuple(taken.layers[name].shape), tuple(tape.layers[name].shape)
            if found != expected:
                raise SignalError(
                    f"{at} gave shape {found} for layer {name!r}, expected {expected}: that of "
                    "the layer's output"
                )
        value = taken.objective_value
        if value is not None and tuple(value.shape) != (len(tape.batch),):
            raise SignalError(
                f"{at} gave objective values of shape {tuple(value.shape)}, expected one per "
                f"image: ({len(tape.batch)},)"
            )

    def _read(
        self, layer: str, signal: SignalEntry, tensor: torch.Tensor, batch: ImageBatch
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pool, measure, project and normalise one signal of one layer: (B, F) and (B,)."""
        reader = self._readers[layer]
        with torch.no_grad():
            pooled = reader.pool(tensor.to(self.model.dtype))
            length = vector_norm(pooled)
            learned = signal.role != ACTIVATION
            if learned:
                reader.zeros[signal.name] += int((length == 0).sum())
                small = (length > 0) & (length < VANISHING)
                reader.vanishing[signal.name] += int(small.sum())
            finite = torch.isfinite(length)
            if not bool(finite.all()):
                image = batch.image_ids[int((~finite).nonzero()[0])]
                raise SignalError(
                    f"model {self.model.entry.name!r}, layer {layer!r}: signal {signal.name!r} of "
                    f"image {image!r} is not finite; use a wider precision (features.precision: "
                    "fp32) or another objective"
                )
            if learned and self.signal_set.normalise == "unit":
                # Scaling first keeps the projection clear of underflow; the unit length is that
                # of the projected vector.
                pooled = unit_length(reader.projection.apply(unit_length(pooled)))
            else:
                pooled = reader.projection.apply(pooled)
            return pooled.float().cpu().numpy(), length.float().cpu().numpy()

    def degenerate(self, layer: str) -> dict[str, dict[str, int]]:
        """Number of images with an all-zero or a vanishing signal so far, by signal."""
        reader = self._readers[layer]
        return {
            "zero": {name: count for name, count in reader.zeros.items() if count},
            "vanishing": {name: count for name, count in reader.vanishing.items() if count},
        }

    @property
    def rounding(self) -> dict[str, float]:
        """Relative error that rounding leaves in each signal, as the first batch showed it."""
        return dict(self._rounding or {})

    def reports(self) -> dict[str, dict[str, Any]]:
        """Facts about the objectives, by signal."""
        return {
            source.entry.name: source.objective.report()
            for source in self.sources
            if source.objective is not None
        }


def _joined(parts: list[dict[str, BatchSignals]]) -> dict[str, BatchSignals]:
    return {
        layer: BatchSignals(
            {
                signal: np.concatenate([part[layer].features[signal] for part in parts])
                for signal in parts[0][layer].features
            },
            np.concatenate([part[layer].objective_value for part in parts]),
            np.concatenate([part[layer].magnitude for part in parts]),
        )
        for layer in parts[0]
    }


@dataclass(frozen=True)
class ExtractionJob:
    """Everything that one extraction job is told.

    Attributes
    ----------
    entry, signal_set
        Registry entries.
    layers
        Layers and their stores.
    stimuli, stimuli_name, calibration
        Tables of the stimulus sets, and the name under which features are filed.
    data
        Folder below which checkpoints lie.
    batch_size
        Images per batch.
    code_digest
        Digest of the code that makes the features.
    chain
        All layers of the model in order of depth, for rules that need them.
    feedback
        Stores of fitted models, for rules that need them.
    plugins
        Where rules, objectives and sources of weights are looked up.
    """

    entry: ModelEntry
    signal_set: SignalSet
    layers: tuple[LayerRequest, ...]
    stimuli: Path
    stimuli_name: str
    calibration: Path
    data: Path
    batch_size: int
    code_digest: str
    chain: tuple[str, ...] = ()
    feedback: tuple[Path, ...] = ()
    plugins: Plugins = LIBRARY_PLUGINS


def run_extraction(job: ExtractionJob, compute: Compute) -> dict[str, str]:
    """Extract the layers of a job that are not there yet.

    Parameters
    ----------
    job
        What is extracted and where it goes.
    compute
        Device and precision.

    Returns
    -------
    dict
        Layer name -> digest of the store, for the layers that were extracted.

    Raises
    ------
    GradbrainError
        Model, layers, stimuli, calibration or signals are not as they should be.
    """
    uses = uses_of(job.signal_set.signals, job.plugins)
    chain = needed_chain(job.signal_set, uses, job.chain)
    stores = fitted_stores(job.signal_set, uses, job.feedback)
    stimuli = StimulusImages.read(job.stimuli, job.entry)
    calibration = StimulusImages.read(job.calibration, job.entry)
    check_disjoint(stimuli, calibration)
    model = build_model(
        job.entry,
        data=job.data,
        device=compute.device,
        autocast=compute.autocast,
        plugins=job.plugins,
    )
    digests = {
        "weights_digest": model.weights_digest,
        "calibration_digest": calibration.digest,
    }
    fitted = open_all_fitted(
        job.entry, job.signal_set, uses, chain, stores, digests, plugins=job.plugins
    )
    follows_from: dict[str, Any] = {
        **digests,
        "stimuli_digest": stimuli.digest,
        "code_digest": job.code_digest,
        "precision": compute.precision,
        **own_weights(plugins_of(uses), model),
    }
    if chain:
        follows_from["chain"] = list(chain)
    if fitted:
        follows_from["feedback_digests"] = {name: model.digest for name, model in fitted.items()}
    attributes = {
        request.name: layer_attributes(
            request,
            entry=job.entry,
            signal_set=job.signal_set,
            stimuli=job.stimuli_name,
            plugins=job.plugins,
            **follows_from,
        )
        for request in job.layers
    }
    missing = [r for r in job.layers if not _is_kept(r, attributes[r.name])]
    requests = [r for r in missing if not is_finished(r.output, attributes[r.name])]
    made = _extract(
        job,
        requests,
        attributes=attributes,
        model=model,
        stimuli=stimuli,
        calibration=calibration,
        fitted=fitted,
        compute=compute,
    )
    publish([request.output for request in missing])
    return made


def _is_kept(request: LayerRequest, attributes: Mapping[str, Any]) -> bool:
    if not is_current(request.output, attributes, kind=KIND):
        return False
    log.info("%s is complete and kept", request.output)
    remove_store(finished_path(request.output))
    return True


def _extract(
    job: ExtractionJob,
    requests: Sequence[LayerRequest],
    *,
    attributes: Mapping[str, Mapping[str, Any]],
    model: VisionModel,
    stimuli: StimulusImages,
    calibration: StimulusImages,
    fitted: Mapping[str, FittedModel],
    compute: Compute,
) -> dict[str, str]:
    """Take the layers that are asked for in one pass over the images; layer -> digest."""
    if not requests:
        return {}
    stored = StoredImages(calibration, job.batch_size, compute.device)
    extractor = SignalExtractor(
        model,
        [request.name for request in requests],
        job.signal_set,
        CalibrationBank(model, stored.batches),
        plugins=job.plugins,
        chain=job.chain,
        fitted={name: model.content for name, model in fitted.items()},
    )
    log.info(
        "model %s: %d signals of %d layers for %d images of %s",
        job.entry.name,
        len(job.signal_set.signals),
        len(requests),
        len(stimuli),
        job.stimuli_name,
    )
    with LayerStores(
        requests,
        attributes,
        stimuli.image_ids,
        extractor.widths,
        job.signal_set.signals,
    ) as stores:
        rate = _stream(extractor, stimuli, stores, job, compute.device)
        facts = {
            **compute.describe(),
            "weights": model.weights_origin,
            "images_per_s": round(rate, 2),
            "batch_size": job.batch_size,
            "peak_gpu_mib": peak_gpu_mib(compute.device),
            "objectives": extractor.reports(),
            "rounding": extractor.rounding,
        }
        provenance = {
            request.name: {**facts, "degenerate": extractor.degenerate(request.name)}
            for request in requests
        }
        digests = stores.finish(provenance)
    _warn_of_degenerate(extractor, requests, len(stimuli))
    return digests


def _stream(
    extractor: SignalExtractor,
    stimuli: StimulusImages,
    stores: LayerStores,
    job: ExtractionJob,
    device: torch.device,
) -> float:
    """Run over all images and write their rows; return images per second."""
    at = 0
    with Progress(total=len(stimuli), name=job.entry.name, device=device) as progress:
        for batch in stimuli.batches(job.batch_size, device):
            for layer, signals in extractor.take(batch).items():
                stores.write_rows(at, layer, signals.rows())
            at += len(batch)
            progress.update(len(batch))
        return progress.images_per_s


def _warn_of_degenerate(
    extractor: SignalExtractor, requests: Sequence[LayerRequest], n_images: int
) -> None:
    for request in requests:
        for kind, counts in extractor.degenerate(request.name).items():
            for signal, count in counts.items():
                log.warning(
                    "layer %s: signal %s is %s for %d of %d images",
                    request.name,
                    signal,
                    kind,
                    count,
                    n_images,
                )
