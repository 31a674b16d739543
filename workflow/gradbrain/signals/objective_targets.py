"""What objectives compare images with, computed once for all jobs that take single layers.

Views and masked copies of an image pass through the whole network whichever layer is asked for. One
job per model, signal set and stimulus set passes them, and stores of every objective that looks at
such copies (or uses one that does inside it) its targets for all images and what it fitted on
calibration images. Jobs by layer are handed the store and pass the images alone.

What is stored is what they would compute themselves, bit for bit on one machine with one batch
size; features are the same, and nothing of them says which way they were made but the provenance.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from gradbrain.config.definition import model_definition
from gradbrain.config.plugins import LIBRARY_PLUGINS, Plugins, ResolvedUse, viewing_objectives
from gradbrain.config.schema import ModelEntry, SignalSet
from gradbrain.models.build import build_model
from gradbrain.objectives import build_objective, own_weights
from gradbrain.objectives.base import BaseObjective, ImageBatch
from gradbrain.objectives.calibration import CalibrationBank
from gradbrain.signals import SignalError
from gradbrain.signals.currency import differences, is_current
from gradbrain.signals.device import Compute, is_out_of_memory, peak_gpu_mib
from gradbrain.signals.image_stream import StimulusImages, StoredImages, check_disjoint
from gradbrain.signals.progress import Progress
from gradbrain.signals.rounding import N_IMAGES, disturbed
from gradbrain.store import StreamingStore, open_tree

log = logging.getLogger(__name__)

KIND = "objective_targets"
TARGETS, OF_DISTURBED, STATE = "targets", "targets_of_disturbed", "state_"
#: Attributes that must be those of the job which reads the targets, and what they are.
ORIGINS = {
    "weights_digest": "the weights of the network are others",
    "calibration_digest": "the calibration images are others",
    "stimuli_digest": "the images are others",
    "precision": "the precision is another",
}

Arrays = dict[str, np.ndarray]


def _all_uses(uses: Sequence[ResolvedUse]) -> dict[str, ResolvedUse]:
    """Objectives and those inside them by key, inner ones first, as they are built."""
    found: dict[str, ResolvedUse] = {}
    for use in uses:
        found |= _all_uses(use.inner)
        found.setdefault(use.key, use)
    return found


def targets_entries(entry: ModelEntry, signal_set: SignalSet, plugins: Plugins) -> dict[str, Any]:
    """What targets follow from of registry entries, and the digest of it.

    Returns
    -------
    dict
        ``model_entry`` and ``signal_set_entry`` (the seed, and the objectives with all options),
        and ``definition``, the SHA-256 of both.
    """
    uses = _all_uses(viewing_objectives(signal_set.signals, plugins))
    found = {
        "model_entry": model_definition(entry, signal_set, plugins),
        "signal_set_entry": {"seed": signal_set.seed, "objectives": list(uses)},
    }
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {"definition": digest, **found}


# --- computing -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TargetsJob:
    """Everything that one job is told.

    Attributes
    ----------
    entry, signal_set
        Registry entries.
    stimuli, stimuli_name, calibration
        Tables of the stimulus sets, and the name under which targets are filed.
    data
        Folder below which checkpoints lie.
    output
        Where the targets go.
    batch_size
        Images per batch.
    code_digest
        Digest of the code that computes them.
    plugins
        Where rules, objectives and sources of weights are looked up.
    """

    entry: ModelEntry
    signal_set: SignalSet
    stimuli: Path
    stimuli_name: str
    calibration: Path
    data: Path
    output: Path
    batch_size: int
    code_digest: str
    plugins: Plugins = LIBRARY_PLUGINS


def run_targets(job: TargetsJob, compute: Compute) -> str | None:
    """Compute the targets of a signal set for all images, unless they are there already.

    Parameters
    ----------
    job
        What is computed and where it goes.
    compute
        Device and precision.

    Returns
    -------
    str or None
        Digest of the store; None where the one that is there was kept.

    Raises
    ------
    GradbrainError
        No objective of the set looks at views, or model, images or signals are not as they should
        be.
    """
    uses = viewing_objectives(job.signal_set.signals, job.plugins)
    if not uses:
        raise SignalError(
            f"signal set {job.signal_set.name!r}: no objective of it passes more than the images "
            "themselves (extra_forward_passes of its Options), so there are no targets to compute; "
            "extract its layers without"
        )
    stimuli = StimulusImages.read(job.stimuli, job.entry)
    calibration = StimulusImages.read(job.calibration, job.entry)
    check_disjoint(stimuli, calibration)
    model = build_model(
        job.entry,
        data=job.data,
        device=compute.device,
        autocast=compute.autocast,
        view_autocast=compute.view_autocast,
        plugins=job.plugins,
    )
    attributes = {
        "model": job.entry.name,
        "signal_set": job.signal_set.name,
        "stimuli": job.stimuli_name,
        **targets_entries(job.entry, job.signal_set, job.plugins),
        "weights_digest": model.weights_digest,
        "calibration_digest": calibration.digest,
        "stimuli_digest": stimuli.digest,
        "precision": compute.precision,
        "code_digest": job.code_digest,
        **own_weights([plugin for use in uses for plugin in use.plugins], model),
    }
    if is_current(job.output, attributes, kind=KIND):
        log.info("%s is complete and kept", job.output)
        return None
    log.info(
        "model %s: targets of %d objectives for %d images of %s",
        job.entry.name,
        len(uses),
        len(stimuli),
        job.stimuli_name,
    )
    bank = CalibrationBank(model, StoredImages(calibration, job.batch_size, compute.device).batches)
    objectives = {
        key: build_objective(use, model, bank, seed=job.signal_set.seed)
        for key, use in _all_uses(uses).items()
    }
    return _write(job, attributes, stimuli, objectives, {use.key for use in uses}, compute)


def _write(
    job: TargetsJob,
    attributes: Mapping[str, Any],
    stimuli: StimulusImages,
    objectives: Mapping[str, BaseObjective],
    asked: set[str],
    compute: Compute,
) -> str:
    """Stream the targets of all images to the store; return its digest."""
    groups = {key: f"objective_{place}" for place, key in enumerate(objectives)}
    teacher = _Teacher({groups[key]: objectives[key] for key in sorted(asked)})
    examples = _of_disturbed(teacher, stimuli, compute)
    whole = {
        f"{groups[key]}/{STATE}{name}": values.cpu().numpy()
        for key, objective in objectives.items()
        for name, values in objective.state.items()
    }
    if compute.autocast is None:
        whole |= {f"{group}/{OF_DISTURBED}": rows for group, rows in examples.items()}
    store = StreamingStore(
        job.output,
        kind=KIND,
        template={
            f"{group}/{TARGETS}": (
                _dims(f"{group}/{TARGETS}", rows.ndim),
                (len(stimuli), *rows.shape[1:]),
                rows.dtype,
            )
            for group, rows in examples.items()
        },
        coords={"image_id": (("image",), np.array(stimuli.image_ids))},
        whole={name: (_dims(name, values.ndim), values) for name, values in whole.items()},
        attrs={**attributes, "groups_of_objectives": groups},
    )
    at = 0
    with (
        store,
        Progress(total=len(stimuli), name=job.entry.name, device=compute.device) as progress,
    ):
        for batch in stimuli.batches(job.batch_size, compute.device) if examples else ():
            rows = teacher.take(batch)
            store.write_rows(at, {f"{group}/{TARGETS}": rows[group] for group in examples})
            at += len(batch)
            progress.update(len(batch))
        facts = {
            **compute.describe(),
            "batch_size": job.batch_size,
            "images_per_s": round(progress.images_per_s, 2),
            "peak_gpu_mib": peak_gpu_mib(compute.device),
            "objectives": {key: objectives[key].report() for key in sorted(asked)},
        }
        return store.finish(facts)


def _of_disturbed(teacher: _Teacher, stimuli: StimulusImages, compute: Compute) -> Arrays:
    """Targets of the first images as :mod:`gradbrain.signals.rounding` disturbs them, one by one.

    Returns
    -------
    dict
        Group -> (n, …), for objectives that have targets.
    """
    first = stimuli.batches(N_IMAGES, compute.device)
    few = disturbed(next(first))
    first.close()
    parts = [teacher.take(few.part(slice(at, at + 1))) for at in range(len(few))]
    found = {group: np.concatenate([part[group] for part in parts]) for group in parts[0]}
    return {group: rows for group, rows in found.items() if rows.size}


def _dims(name: str, n_dims: int) -> tuple[str, ...]:
    """Names of the dimensions of an array; none but `image` is shared with another array."""
    array = name.rpartition("/")[2]
    first = {TARGETS: "image", OF_DISTURBED: "disturbed_image"}
    names = [f"{array}_{place}" for place in range(n_dims)]
    return tuple([first[array], *names[1:]] if array in first else names)


class _Teacher:
    """Computes targets of batches; halves them for good when memory runs out.

    Parameters
    ----------
    objectives
        By the name of their group.
    """

    def __init__(self, objectives: Mapping[str, BaseObjective]) -> None:
        self._objectives = objectives
        self._limit: int | None = None

    def take(self, batch: ImageBatch) -> Arrays:
        """Group -> (B, …) targets of its objective."""
        while True:
            limit = min(len(batch), self._limit or len(batch))
            starts = range(0, len(batch), limit)
            try:
                parts = [self._take(batch.part(slice(at, at + limit))) for at in starts]
            except RuntimeError as error:
                if not is_out_of_memory(error) or limit == 1:
                    raise
                self._limit = limit // 2
                log.warning("out of memory: batches of %d images from here on", self._limit)
                continue
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _take(self, batch: ImageBatch) -> Arrays:
        return {
            name: objective.bind(batch).targets.cpu().numpy()
            for name, objective in self._objectives.items()
        }


# --- use -------------------------------------------------------------------------------------


class StoredTargets:
    """Targets and states of objectives as another job stored them.

    Parameters
    ----------
    tree
        The store, opened lazily; rows are read as batches ask for them.
    path
        Its place, for messages.
    device
        Where tensors go.

    Attributes
    ----------
    digest
        Of the content.
    """

    def __init__(self, tree: xr.DataTree, path: Path, device: torch.device) -> None:
        self._path, self._device = path, device
        self.digest = str(tree.attrs["digest"])
        names = tree.to_dataset()["image_id"].values
        self._rows = {str(name): row for row, name in enumerate(names)}
        self._groups = {
            key: tree[group].to_dataset() if group in tree.children else xr.Dataset()
            for key, group in tree.attrs["groups_of_objectives"].items()
        }

    def holds(self, key: str) -> bool:
        """Whether an objective is in the store."""
        return key in self._groups

    def states(self) -> dict[str, dict[str, torch.Tensor]]:
        """Objective -> what it fitted, by name."""
        return {
            key: {
                str(name).removeprefix(STATE): self._tensor(group[name].values)
                for name in group
                if str(name).startswith(STATE)
            }
            for key, group in self._groups.items()
        }

    def of(self, key: str, batch: ImageBatch, *, disturbed: bool = False) -> torch.Tensor:
        """Targets of an objective for the images of a batch.

        Parameters
        ----------
        key
            Objective.
        batch
            Images, of which the ids are read.
        disturbed
            Targets of the images disturbed as rounding does, which the first few have.

        Returns
        -------
        torch.Tensor
            (B, …); (B, 0) for objectives that need the output alone.

        Raises
        ------
        SignalError
            There are none of an image.
        """
        group, name = self._groups[key], OF_DISTURBED if disturbed else TARGETS
        if TARGETS not in group:
            return batch.raw.new_empty(len(batch), 0)
        rows = [self._rows.get(image, len(self._rows)) for image in batch.image_ids]
        held = group.sizes.get("disturbed_image", 0) if disturbed else len(self._rows)
        if max(rows) >= held:
            image = next(i for i, row in zip(batch.image_ids, rows, strict=True) if row >= held)
            raise SignalError(
                f"{self._path}: has no {name} of image {image!r}; make it again with the images "
                "that are extracted"
            )
        consecutive = rows == list(range(rows[0], rows[0] + len(rows)))
        chosen = slice(rows[0], rows[0] + len(rows)) if consecutive else rows
        return self._tensor(group[name][chosen].values)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values)).to(self._device)


def open_targets(
    path: Path,
    entry: ModelEntry,
    signal_set: SignalSet,
    origins: Mapping[str, str],
    device: torch.device,
    *,
    plugins: Plugins,
) -> StoredTargets:
    """Open the targets of a signal set, or refuse them.

    Parameters
    ----------
    path
        The store.
    entry, signal_set
        Model and signals that are extracted.
    origins
        What they are extracted from: digests of weights, images and calibration images, precision,
        and digests of weights that objectives bring.
    device
        Where tensors go.
    plugins
        Where rules and objectives are looked up.

    Raises
    ------
    SignalError
        They were computed for another model, other objectives, options or another seed, from other
        weights or images, or in another precision.
    StoreError
        The store is missing, incomplete, or not of this kind.
    """
    tree = open_tree(path, kind=KIND)
    found = {str(key): value for key, value in tree.attrs.items()}
    expected = targets_entries(entry, signal_set, plugins)
    reasons = []
    if found.get("definition") != expected["definition"]:
        reasons += differences(found, expected) or ["its definition is another"]
    reasons += [
        ORIGINS.get(key, f"{key} is another")
        for key, value in origins.items()
        # Weights that objectives of the set bring which do not look at views are none of its.
        if (key in ORIGINS or key in found) and found.get(key) != value
    ]
    if reasons:
        raise SignalError(
            f"{path}: was not computed for model {entry.name!r} and signal set "
            f"{signal_set.name!r} as they are: {'; '.join(reasons)}. Compute it again with "
            f"scripts/compute_objective_targets.py (rm -r {path})"
        )
    return StoredTargets(tree, path, device)
