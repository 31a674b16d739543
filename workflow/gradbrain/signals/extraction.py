"""Take all signals of a set from all named layers of a network, for every image of a stimulus set.

One forward pass serves all layers and signals; each objective costs one backward pass, which ends
at the first named layer. Features stream to one store per layer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
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
from gradbrain.signals.device import (
    Compute,
    is_out_of_memory,
    peak_gpu_mib,
    precision_of,
    wider_than,
)
from gradbrain.signals.extraction_memory import check_extraction_memory
from gradbrain.signals.feedback import (
    FittedModel,
    fitted_stores,
    open_all_fitted,
)
from gradbrain.signals.image_stream import StimulusImages, StoredImages, check_disjoint
from gradbrain.signals.layer_stores import (
    KIND,
    OBJECTIVE_VALUE,
    RESIDUAL,
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
from gradbrain.signals.objective_targets import StoredTargets, open_targets
from gradbrain.signals.pooling import layout_of, pooling_function
from gradbrain.signals.progress import Progress
from gradbrain.signals.projection import RandomProjection
from gradbrain.signals.rounding import N_IMAGES, check_rounding, disturbed, relative_error
from gradbrain.signals.rule import Rule, RuleContext
from gradbrain.signals.tape import Taken, Tape, TapeRecorder
from gradbrain.store import remove_store
from gradbrain.store.feature_signals import COSINE, MAGNITUDE
from gradbrain.vocabulary.roles import ACTIVATION, LEARNING

log = logging.getLogger(__name__)

# Of a signal set, what its passes through the network follow from.
SOURCES = ("signals", "calibration", "seed")
# The rule whose gradients other rules' signals are compared with.
BACKPROP = "backprop"


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
    diagnostics
        Name -> (B, n_signals) float32; NaN for signals of which there is nothing to be said.
    """

    features: dict[str, np.ndarray]
    objective_value: np.ndarray
    magnitude: np.ndarray
    diagnostics: dict[str, np.ndarray] = field(default_factory=dict)

    def rows(self) -> dict[str, np.ndarray]:
        """Rows by variable of the feature store."""
        return {
            **{array_of(signal): values for signal, values in self.features.items()},
            OBJECTIVE_VALUE: self.objective_value,
            MAGNITUDE: self.magnitude,
            **self.diagnostics,
        }


@dataclass
class _Source:
    """One signal: its entry, rule and objective, and what the rule needs of a pass."""

    entry: SignalEntry
    rule: Rule
    objective: BaseObjective | None
    graph: bool
    layers: tuple[str, ...]
    stored: StoredTargets | None
    key: str
    gives_residual: bool = False

    def bind(self, batch: ImageBatch, *, disturbed: bool) -> BoundObjective | None:
        """Join objective and images: with the targets of another job, or computed here."""
        if self.objective is None:
            return None
        if self.stored is None:
            return self.objective.bind(batch)
        targets = self.stored.of(self.key, batch, disturbed=disturbed)
        return BoundObjective(self.objective, batch, targets)

    def take(self, tape: Tape, objective: BoundObjective | None, *, keep_graph: bool) -> Taken:
        """Let the rule see what it asked for, and no more."""
        outputs = (self.objective.output,) if self.objective else ()
        return self.rule.take(tape.part(self.layers, outputs), objective, keep_graph=keep_graph)


@dataclass
class _LayerReader:
    """Pools, projects and normalises the signals of one layer, as one signal set has it."""

    pool: Any
    projection: RandomProjection
    width: int
    scaled: Callable[[SignalEntry], bool]
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
    readouts
        Further signal sets that pool, project or normalise the same signals otherwise: they are
        read from the same passes.
    targets
        What objectives compare with, where another job computed it; the calibration bank has the
        states that go with it.

    Raises
    ------
    GradbrainError
        A rule or objective does not exist or has a wrong option, what one needs is not given, or a
        further set has other signals, another seed or other calibration images.
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
        readouts: Sequence[SignalSet] = (),
        targets: StoredTargets | None = None,
    ) -> None:
        self.replicate = replicate
        _check_readouts(signal_set, readouts)
        self._targets = targets
        self.model, self.signal_set, self.layers = model, signal_set, tuple(layers)
        self._calibration, self._fitted = calibration, fitted or {}
        uses = uses_of(signal_set.signals, plugins)
        self.chain = needed_chain(signal_set, uses, chain)
        needed = frozenset[str]().union(*(found[0].needs for found in uses.values()))
        self.recorder = TapeRecorder(
            model,
            self.chain or layers,
            image_graph="image_graph" in needed,
            other_weights="other_weights" in needed,
        )
        self._check_chain()
        self._check_weights(uses)
        self.sources = [self._source(entry, *uses[entry.name]) for entry in signal_set.signals]
        self._reference = [self._find_reference(source) for source in self.sources]
        self.outputs: tuple[OutputName, ...] = tuple(
            sorted({source.objective.output for source in self.sources if source.objective})
        )
        if len(self.outputs) > 1:
            model.check_classifier()
        self._graph = any(source.graph for source in self.sources)
        self._readers = {
            found.name: {name: self._reader(name, found) for name in layers}
            for found in (signal_set, *readouts)
        }
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

    def _check_weights(self, uses: Mapping[str, Sequence[ResolvedUse]]) -> None:
        """Refuse a rule with feedback weights where the network has none to be replaced."""
        asking = [s for s in self.signal_set.signals if "other_weights" in uses[s.name][0].needs]
        if not asking:
            return
        unread = self.recorder.unread_weights()
        if unread:
            raise SignalError(
                f"{place(asking[0])}: rule {asking[0].rule!r} cannot be had for model "
                f"{self.model.entry.name!r} ({self.model.entry.architecture}): its modules "
                f"{', '.join(unread[:5])} compute their weights in each pass, so that there are "
                "none to be replaced on the way back; take another model or a signal set without "
                "this signal"
            )

    def _find_reference(self, source: _Source) -> int | None:
        """Place of the backpropagated gradient that a signal is compared with.

        That of its own objective; for rules without one, the only one of the set that learns.
        """
        if source.entry.rule == BACKPROP or source.entry.role == ACTIVATION:
            return None
        found = [
            place
            for place, other in enumerate(self.sources)
            if other.entry.rule == BACKPROP
            and (other.key == source.key if source.key else other.entry.role == LEARNING)
        ]
        return found[0] if found and (source.key or len(found) == 1) else None

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """What is said of signals besides: names of variables of the stores."""
        compared = any(place is not None for place in self._reference)
        solved = any(source.gives_residual for source in self.sources)
        return ((COSINE,) if compared else ()) + ((RESIDUAL,) if solved else ())

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
        built, key = None, ""
        if objective is not None:
            key = objective.key
            built = build_objective(
                objective, self.model, self._calibration, seed=seed, replicate=self.replicate
            )
        return _Source(
            entry,
            rule.plugin.load().Rule(context),
            built,
            graph="graph" in needs,
            layers=self.chain if "chain" in needs else self.layers,
            stored=self._targets if self._targets and self._targets.holds(key) else None,
            key=key,
            gives_residual=rule.options.gives_residual,
        )

    def _reader(self, layer: str, signal_set: SignalSet) -> _LayerReader:
        shape = self.recorder.shapes[layer]
        layout = layout_of(self.model, layer, shape)
        pool = pooling_function(signal_set.pooling, layout, layer)
        device = self.model.device
        pooled = int(pool(torch.zeros(shape, device=device)).shape[1])
        projection = RandomProjection(signal_set.projection, pooled, device)

        def scaled(signal: SignalEntry) -> bool:
            return signal.role != ACTIVATION and signal_set.normalise_of(signal) != "none"

        return _LayerReader(pool, projection, projection.width, scaled)

    @property
    def widths(self) -> dict[str, int]:
        """Layer name -> number of features."""
        return self.widths_of(self.signal_set.name)

    def widths_of(self, signal_set: str) -> dict[str, int]:
        """Layer name -> number of features, of one of the signal sets."""
        return {name: reader.width for name, reader in self._readers[signal_set].items()}

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
        return self.take_all(batch)[self.signal_set.name]

    def take_all(self, batch: ImageBatch) -> dict[str, dict[str, BatchSignals]]:
        """Take all signals of all layers as every signal set reads them.

        Parameters
        ----------
        batch
            Images.

        Returns
        -------
        dict
            Name of the signal set -> what :meth:`take` returns for it.

        Raises
        ------
        SignalError
            As for :meth:`take`.
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
                found = {name: _joined([part[name] for part in parts]) for name in parts[0]}
                if len(parts) == 1:
                    found = parts[0]
                # Disturbed by what float32 resolves, which says nothing of a coarser format.
                if self._rounding is None and self.model.autocast is None:
                    own = found[self.signal_set.name]
                    self._rounding = self._measure_rounding(batch, own)
                    check_rounding(self._rounding, model=self.model.entry.name)
                return found
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()

    def _all_readers(self) -> list[_LayerReader]:
        return [reader for found in self._readers.values() for reader in found.values()]

    def _counts(self) -> list[tuple[Counter[str], Counter[str]]]:
        return [(+reader.zeros, +reader.vanishing) for reader in self._all_readers()]

    def _restore(self, counts: Sequence[tuple[Counter[str], Counter[str]]]) -> None:
        for reader, count in zip(self._all_readers(), counts, strict=True):
            reader.zeros, reader.vanishing = count

    def _measure_rounding(
        self, batch: ImageBatch, found: Mapping[str, BatchSignals]
    ) -> dict[str, float]:
        """Take a few images again, disturbed as rounding does; signal -> largest error of a layer.

        The first batch tells; one image at a time, so that it fits wherever that did.
        """
        n_images, counts = min(N_IMAGES, len(batch)), self._counts()
        few = disturbed(batch.part(slice(0, n_images)))
        parts = [self._take(few.part(slice(at, at + 1)), disturbed=True) for at in range(n_images)]
        self._restore(counts)
        again = _joined([part[self.signal_set.name] for part in parts])
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

    def _take(
        self, batch: ImageBatch, *, disturbed: bool = False
    ) -> dict[str, dict[str, BatchSignals]]:
        # Targets come first: their forward passes need no graph, and none is held yet.
        bound = [source.bind(batch, disturbed=disturbed) for source in self.sources]
        tape = self.recorder.record(batch, self.outputs, graph=self._graph)
        # Backpropagation first: others are compared with it.
        order = sorted(
            range(len(self.sources)), key=lambda place: self.sources[place].entry.rule != BACKPROP
        )
        last = max((at for at, i in enumerate(order) if self.sources[i].graph), default=-1)
        shape = (len(batch), len(self.sources))
        values = np.full(shape, np.nan, dtype=np.float32)
        found = {
            signal_set: {name: self._empty(shape, values) for name in self.layers}
            for signal_set in self._readers
        }
        compared: dict[tuple[int, str, str], torch.Tensor] = {}
        for at, index in enumerate(order):
            source, reference = self.sources[index], self._reference[index]
            taken = source.take(tape, bound[index], keep_graph=at < last)
            self._check_taken(source.entry, taken, tape)
            if taken.objective_value is not None:
                values[:, index] = taken.objective_value.float().cpu().numpy()
            for signal_set, readers in self._readers.items():
                for name, reader in readers.items():
                    pooled = reader.pool(taken.layers[name].detach().to(self.model.dtype))
                    row, length = self._read(reader, name, source.entry, pooled, batch)
                    layer = found[signal_set][name]
                    layer.features[source.entry.name] = row
                    layer.magnitude[:, index] = length
                    if index in self._reference:
                        compared[index, signal_set, name] = pooled
                    if reference is not None:
                        other = compared[reference, signal_set, name]
                        layer.diagnostics[COSINE][:, index] = _cosine(pooled, other)
                    if taken.residual is not None and source.gives_residual:
                        left = taken.residual[name].float().cpu().numpy()
                        layer.diagnostics[RESIDUAL][:, index] = left
        return found

    def _empty(self, shape: tuple[int, int], values: np.ndarray) -> BatchSignals:
        missing = {name: np.full(shape, np.nan, dtype=np.float32) for name in self.diagnostics}
        return BatchSignals({}, values, np.zeros(shape, dtype=np.float32), missing)

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
        self,
        reader: _LayerReader,
        layer: str,
        signal: SignalEntry,
        pooled: torch.Tensor,
        batch: ImageBatch,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Measure, project and normalise one pooled signal of one layer: (B, F) and (B,)."""
        with torch.no_grad():
            length = vector_norm(pooled)
            learned = signal.role != ACTIVATION
            if learned:
                reader.zeros[signal.name] += int((length == 0).sum())
                small = (length > 0) & (length < VANISHING)
                reader.vanishing[signal.name] += int(small.sum())
            finite = torch.isfinite(length)
            if not bool(finite.all()):
                image = batch.image_ids[int((~finite).nonzero()[0])]
                precision = precision_of(self.model.autocast, self.model.device)
                raise SignalError(
                    f"model {self.model.entry.name!r}, layer {layer!r}: signal {signal.name!r} of "
                    f"image {image!r} is not finite in {precision}; {wider_than(precision)}"
                )
            if reader.scaled(signal):
                # Scaling first keeps the projection clear of underflow; the unit length is that
                # of the projected vector.
                pooled = unit_length(reader.projection.apply(unit_length(pooled)))
            else:
                pooled = reader.projection.apply(pooled)
            return pooled.float().cpu().numpy(), length.float().cpu().numpy()

    def degenerate(self, layer: str, signal_set: str | None = None) -> dict[str, dict[str, int]]:
        """Number of images with an all-zero or a vanishing signal so far, by signal."""
        reader = self._readers[signal_set or self.signal_set.name][layer]
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


def _check_readouts(signal_set: SignalSet, readouts: Sequence[SignalSet]) -> None:
    """Refuse sets that cannot be read from the same passes."""
    for other in readouts:
        changed = [key for key in SOURCES if getattr(other, key) != getattr(signal_set, key)]
        if changed or other.name == signal_set.name:
            raise SignalError(
                f"signal set {other.name!r} cannot be read from the passes of "
                f"{signal_set.name!r}: its {', '.join(changed) or 'name'} "
                f"{'is the same' if not changed else 'differs'}; extract it on its own"
            )


def _joined(parts: list[dict[str, BatchSignals]]) -> dict[str, BatchSignals]:
    return {
        layer: BatchSignals(
            {
                signal: np.concatenate([part[layer].features[signal] for part in parts])
                for signal in parts[0][layer].features
            },
            np.concatenate([part[layer].objective_value for part in parts]),
            np.concatenate([part[layer].magnitude for part in parts]),
            {
                name: np.concatenate([part[layer].diagnostics[name] for part in parts])
                for name in parts[0][layer].diagnostics
            },
        )
        for layer in parts[0]
    }


def _cosine(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Cosine of the rows of two (B, F) tensors, (B,); NaN where a row is zero."""
    lengths = vector_norm(first) * vector_norm(second)
    found = (unit_length(first) * unit_length(second)).sum(1)
    nothing = torch.full_like(found, torch.nan)
    return torch.where(lengths > 0, found, nothing).float().cpu().numpy()


@dataclass(frozen=True)
class Readout:
    """A signal set, and the stores of the layers that are read for it.

    Attributes
    ----------
    signal_set
        How signals become rows of features.
    layers
        Layers and their stores.
    """

    signal_set: SignalSet
    layers: tuple[LayerRequest, ...]


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
    further
        Other signal sets that are read from the same passes.
    targets
        Store of what objectives compare with; None: it is computed here.
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
    further: tuple[Readout, ...] = ()
    targets: Path | None = None

    @property
    def readouts(self) -> tuple[Readout, ...]:
        """All signal sets that are read."""
        return (Readout(self.signal_set, self.layers), *self.further)


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
        Layer name -> digest of the store of `signal_set`, for the layers that were extracted.

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
    check_extraction_memory(
        job.entry,
        chain or tuple(request.name for request in job.layers),
        batch_size=min(job.batch_size, len(stimuli)),
        graph=any("graph" in rule.needs for rule, *_ in uses.values()),
        compute=compute,
        plugins=job.plugins,
    )
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
    fitted = open_all_fitted(
        job.entry, job.signal_set, uses, chain, stores, digests, plugins=job.plugins
    )
    digests |= {
        "stimuli_digest": stimuli.digest,
        "precision": compute.precision,
        **own_weights(plugins_of(uses), model),
    }
    targets = None
    if job.targets is not None:
        targets = open_targets(
            job.targets, job.entry, job.signal_set, digests, compute.device, plugins=job.plugins
        )
    # Targets are what the job would have computed itself: no feature follows from where.
    follows_from: dict[str, Any] = {**digests, "code_digest": job.code_digest}
    if chain:
        follows_from["chain"] = list(chain)
    if fitted:
        follows_from["feedback_digests"] = {name: model.digest for name, model in fitted.items()}
    missing, wanted = [], []
    for readout in job.readouts:
        attributes = {
            request.name: layer_attributes(
                request,
                entry=job.entry,
                signal_set=readout.signal_set,
                stimuli=job.stimuli_name,
                plugins=job.plugins,
                **follows_from,
            )
            for request in readout.layers
        }
        lacking = [r for r in readout.layers if not _is_kept(r, attributes[r.name])]
        missing += [request.output for request in lacking]
        requests = [r for r in lacking if not is_finished(r.output, attributes[r.name])]
        if requests:
            wanted.append(_Wanted(readout.signal_set, requests, attributes))
    made = _extract(
        job,
        wanted,
        model=model,
        stimuli=stimuli,
        calibration=calibration,
        fitted=fitted,
        targets=targets,
        compute=compute,
    )
    publish(missing)
    return made.get(job.signal_set.name, {})


@dataclass(frozen=True)
class _Wanted:
    """Layers of a signal set that are still to be extracted, and what their stores say."""

    signal_set: SignalSet
    requests: Sequence[LayerRequest]
    attributes: Mapping[str, Mapping[str, Any]]


def _is_kept(request: LayerRequest, attributes: Mapping[str, Any]) -> bool:
    if not is_current(request.output, attributes, kind=KIND):
        return False
    log.info("%s is complete and kept", request.output)
    remove_store(finished_path(request.output))
    return True


def _extract(
    job: ExtractionJob,
    wanted: Sequence[_Wanted],
    *,
    model: VisionModel,
    stimuli: StimulusImages,
    calibration: StimulusImages,
    fitted: Mapping[str, FittedModel],
    targets: StoredTargets | None,
    compute: Compute,
) -> dict[str, dict[str, str]]:
    """Take what is asked for in one pass over the images; signal set -> layer -> digest."""
    if not wanted:
        return {}
    stored = StoredImages(calibration, job.batch_size, compute.device)
    asked = {request.name for item in wanted for request in item.requests}
    layers = [request.name for request in job.layers if request.name in asked]
    extractor = SignalExtractor(
        model,
        layers,
        wanted[0].signal_set,
        CalibrationBank(model, stored.batches, targets.states() if targets else None),
        plugins=job.plugins,
        chain=job.chain,
        fitted={name: model.content for name, model in fitted.items()},
        readouts=[item.signal_set for item in wanted[1:]],
        targets=targets,
    )
    log.info(
        "model %s: %d signals of %d layers for %d images of %s, read in %d ways",
        job.entry.name,
        len(job.signal_set.signals),
        len(layers),
        len(stimuli),
        job.stimuli_name,
        len(wanted),
    )
    with ExitStack() as stack:
        stores = {
            item.signal_set.name: stack.enter_context(
                LayerStores(
                    item.requests,
                    item.attributes,
                    stimuli.image_ids,
                    extractor.widths_of(item.signal_set.name),
                    job.signal_set.signals,
                    extractor.diagnostics,
                )
            )
            for item in wanted
        }
        rate = _stream(extractor, stimuli, wanted, stores, job, compute.device)
        facts = {
            **compute.describe(),
            "weights": model.weights_origin,
            "images_per_s": round(rate, 2),
            "batch_size": job.batch_size,
            "peak_gpu_mib": peak_gpu_mib(compute.device),
            "objectives": extractor.reports(),
            "objective_targets": targets.digest if targets else None,
            "rounding": extractor.rounding,
        }
        digests = {
            item.signal_set.name: stores[item.signal_set.name].finish(
                {
                    request.name: {
                        **facts,
                        "degenerate": extractor.degenerate(request.name, item.signal_set.name),
                    }
                    for request in item.requests
                }
            )
            for item in wanted
        }
    _warn_of_degenerate(extractor, wanted[0], len(stimuli))
    return digests


def _stream(
    extractor: SignalExtractor,
    stimuli: StimulusImages,
    wanted: Sequence[_Wanted],
    stores: Mapping[str, LayerStores],
    job: ExtractionJob,
    device: torch.device,
) -> float:
    """Run over all images and write their rows; return images per second."""
    at = 0
    with Progress(total=len(stimuli), name=job.entry.name, device=device) as progress:
        for batch in stimuli.batches(job.batch_size, device):
            taken = extractor.take_all(batch)
            for item in wanted:
                name = item.signal_set.name
                for request in item.requests:
                    rows = taken[name][request.name].rows()
                    stores[name].write_rows(at, request.name, rows)
            at += len(batch)
            progress.update(len(batch))
        return progress.images_per_s


def _warn_of_degenerate(extractor: SignalExtractor, wanted: _Wanted, n_images: int) -> None:
    for request in wanted.requests:
        degenerate = extractor.degenerate(request.name, wanted.signal_set.name)
        for kind, counts in degenerate.items():
            for signal, count in counts.items():
                log.warning(
                    "layer %s: signal %s is %s for %d of %d images",
                    request.name,
                    signal,
                    kind,
                    count,
                    n_images,
                )
