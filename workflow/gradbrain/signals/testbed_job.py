"""The job that trains an autoencoder of the registry: images in, weights and angles out."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from gradbrain.config.plugins import LIBRARY_PLUGINS, weights_use
from gradbrain.config.schema import ModelEntry
from gradbrain.models.autoencoder import Autoencoder, create
from gradbrain.models.sources.testbed import KIND, Options
from gradbrain.signals import SignalError
from gradbrain.signals.currency import is_current
from gradbrain.signals.device import set_up
from gradbrain.signals.image_stream import StimulusImages
from gradbrain.signals.testbed_rules import LearningRule
from gradbrain.signals.testbed_training import TrainingImages, split_images, train
from gradbrain.store import StoreError, open_tree, read_table, write_table, write_tree
from gradbrain.store.tables import table_facts
from gradbrain.vocabulary.artefacts import columns_of

log = logging.getLogger(__name__)

TABLE = "training"
#: What the table says of the store beside it.
STORE_DIGEST = "store_digest"
BATCH = 64


@dataclass(frozen=True)
class TrainingJob:
    """Everything that one training is told.

    Attributes
    ----------
    entry
        Model, whose weights are of source ``testbed``.
    images
        Table of the images that it is trained on.
    store, table
        Where weights and measurements go.
    code_digest
        Digest of the code behind them.
    """

    entry: ModelEntry
    images: Path
    store: Path
    table: Path
    code_digest: str


def run_training(job: TrainingJob) -> str | None:
    """Train a network, unless it is there already.

    Parameters
    ----------
    job
        What is trained and where it goes.

    Returns
    -------
    str or None
        Digest of the store; None where the one that is there was kept.

    Raises
    ------
    GradbrainError
        The entry names other weights, or images or training are not as they should be.
    """
    options = options_of(job.entry)
    compute = set_up("cpu", "fp32", 1)
    stimuli = StimulusImages.read(job.images, job.entry)
    attributes = {
        "model": job.entry.name,
        **_definition(job.entry, options),
        "learning_rule": options.learning_rule,
        "seed": options.seed,
        "images_digest": stimuli.digest,
        "code_digest": job.code_digest,
    }
    if is_current(job.store, attributes, kind=KIND) and _is_beside(job.table, job.store):
        log.info("%s is complete and kept", job.store)
        return None
    images = training_images(stimuli, job.entry)
    log.info(
        "model %s: %s learns from %d images, %d held out",
        job.entry.name,
        options.learning_rule,
        len(images.learnt),
        len(images.held_out),
    )
    network = first_network(job.entry, options.seed)
    rule, rows = train(network, images, options)
    tree = trained_tree(network, rule)
    tree.attrs = attributes
    facts = {
        **compute.describe(),
        "n_images": len(images.learnt),
        "n_held_out": len(images.held_out),
        "held_out_r2": round(float(rows["r2"].iloc[-1]), 4),
    }
    digest = write_tree(job.store, tree, kind=KIND, provenance=facts)
    write_table(
        job.table, labelled(rows, job.entry, options), kind=TABLE, facts={STORE_DIGEST: digest}
    )
    return digest


def options_of(entry: ModelEntry) -> Options:
    """Options of the weights of an entry.

    Raises
    ------
    SignalError
        They are not those of a network that is trained here.
    """
    use = weights_use(entry, LIBRARY_PLUGINS, where=f"models.yaml: model {entry.name!r}")
    if use.plugin.name != "testbed":
        raise SignalError(
            f"model {entry.name!r}: weights: source: expected testbed, found {use.plugin.name!r}; "
            "other weights are not trained here"
        )
    return Options.model_validate(use.options.model_dump())


def _definition(entry: ModelEntry, options: Options) -> dict[str, Any]:
    """What a trained network follows from of its entry, and the digest of it."""
    found = {
        "architecture": entry.architecture,
        "input_size": entry.input_size,
        "crop_pct": entry.crop_pct,
        "interpolation": entry.interpolation,
        "mean": list(entry.mean),
        "std": list(entry.std),
        "weights": options.model_dump(mode="json"),
    }
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {"definition": digest, "model_entry": found}


def _is_beside(table: Path, store: Path) -> bool:
    """Whether a table is that of the store beside it."""
    try:
        read_table(table, kind=TABLE)
        digest = open_tree(store, kind=KIND).attrs["digest"]
        return table_facts(table).get(STORE_DIGEST) == digest
    except StoreError as error:
        log.info("%s", error)
        return False


def training_images(stimuli: StimulusImages, entry: ModelEntry) -> TrainingImages:
    """Read all images as the network takes them, and set photographs aside."""
    batches = stimuli.batches(BATCH, torch.device("cpu"))
    raw = torch.cat([batch.raw for batch in batches])
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (entry.mean, entry.std))
    groups = stimuli.table["group"].to_numpy().astype(str)
    return split_images((raw - mean) / std, groups)


def first_network(entry: ModelEntry, seed: int) -> Autoencoder:
    """Network with the weights that training starts from: those of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(entry)


def trained_tree(network: Autoencoder, rule: LearningRule) -> xr.DataTree:
    """Weights, and those that errors were sent back through, as labelled arrays."""
    weights = dict(network.state_dict())
    groups = {"weights": weights, **({"feedback": rule.feedback} if rule.feedback else {})}
    return xr.DataTree.from_dict(
        {
            group: xr.Dataset({name: _array(name, tensor) for name, tensor in tensors.items()})
            for group, tensors in groups.items()
        }
    )


def _array(name: str, tensor: torch.Tensor) -> tuple[list[str], np.ndarray]:
    """Values with dimensions of their own: those of two parameters have nothing in common."""
    values = tensor.detach().numpy()
    return [f"{name}:{axis}" for axis in range(values.ndim)], values


def labelled(rows: pd.DataFrame, entry: ModelEntry, options: Options) -> pd.DataFrame:
    """Measurements with the model, rule and seed that they are of."""
    return rows.assign(model=entry.name, learning_rule=options.learning_rule, seed=options.seed)[
        list(columns_of(TABLE))
    ]


def said(table: Path) -> str:
    """Say in one line how well a network learnt, and how far its rule is from the gradient."""
    rows = read_table(table, kind=TABLE)
    last = rows[rows["step"] == rows["step"].max()]
    # The first variant trains; the last layer is told the gradient by every rule.
    trains = last[last["correction"] == last["correction"].iloc[0]]
    below = trains[trains["depth"] < trains["depth"].max()]
    angle = below["angle"].mean()
    return (
        f"R² {trains['r2'].iloc[0]:.2f} of held-out photographs, its signal {angle:.0f}° from the "
        f"gradient ({trains['learning_rule'].iloc[0]})"
    )
