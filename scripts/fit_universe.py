"""Fit a data set under one set of choices and keep its statistics: a universe of a multiverse.

All layers and subjects of one model are fitted in one process: hundreds of small jobs would spend
their time on starting, and people who saw the same images share their decompositions. Only what
claims are made of is kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import pandas as pd
import xarray as xr
from tqdm import tqdm

from gradbrain.config import GradbrainError
from gradbrain.config.cli import run
from gradbrain.config.options import add_section, add_signal_set, add_study
from gradbrain.config.schema import EncodingSettings, StatisticsSettings
from gradbrain.encoding.backend import make_backend
from gradbrain.encoding.fit import fit_encoding
from gradbrain.encoding.fit_memory import check_fit_memory, check_unique_memory
from gradbrain.encoding.inputs import read_model_and_subject
from gradbrain.encoding.shared_decompositions import SharedDecompositions
from gradbrain.encoding.tables import tidy_scores
from gradbrain.encoding.unique_part import measure_unique
from gradbrain.hierarchy.subject_scores import subject_scores
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.store import write_statistics, write_table


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--subject",
        nargs="+",
        type=Path,
        action="append",
        required=True,
        metavar="STORE",
        help="response store of a subject, the feature stores of all layers in depth order, and "
        "those of the nuisance bands; once for each subject",
    )
    parser.add_argument("--layers", nargs="+", required=True, help="layers, in depth order")
    add_signal_set(parser, about="signals of the features, as JSON, with what controls what")
    add_section(parser, "encoding", EncodingSettings)
    add_section(parser, "statistics", StatisticsSettings, option="--statistics")
    add_study(parser)
    parser.add_argument("--output", type=Path, required=True, help="statistics (.parquet)")
    parser.add_argument("--draws", type=Path, required=True, help="their draws (.zarr)")
    parser.add_argument("--scores", type=Path, required=True, help="scores per unit (.parquet)")
    return parser


def check_stores(
    subject: Sequence[Path], layers: Sequence[str], settings: EncodingSettings
) -> None:
    """Refuse a subject with another number of feature stores than layers and bands."""
    responses, *stores = subject
    expected = len(layers) + len(settings.nuisance)
    if len(stores) != expected:
        raise GradbrainError(
            f"--subject {responses}: {len(stores)} feature stores were given, expected {expected}: "
            f"{len(layers)} layers and {len(settings.nuisance)} nuisance bands"
        )


def check_memory(
    subject: Sequence[Path], layers: Sequence[str], settings: EncodingSettings
) -> None:
    """Refuse a subject whose fits cannot fit into memory, before the first of them."""
    responses, *stores = subject
    for layer in layers:
        check_fit_memory(layer, stores[: len(layers)], responses, settings)
    check_unique_memory(stores[: len(layers)], responses, settings)


def alone(settings: EncodingSettings) -> EncodingSettings:
    """Settings without fits beside activations: the dearest by far, of which claims take none."""
    return settings.model_copy(update={"variance_partitioning": False})


def fits_of(
    subjects: Sequence[Sequence[Path]],
    layers: Sequence[str],
    settings: EncodingSettings,
    study: str,
) -> list[tuple[Path, xr.Dataset]]:
    """Fit all layers to all subjects, layer by layer, so that subjects share decompositions.

    Returns
    -------
    list of (path of the responses, content of the encoding store)
        Subject by subject.
    """
    backend = SharedDecompositions(make_backend(settings.backend, settings.device))
    jobs = [(layer, subject) for layer in layers for subject in range(len(subjects))]
    found = {}
    for layer, subject in tqdm(jobs, desc="fits", unit="fit", disable=None):
        responses, *stores = subjects[subject]
        found[subject, layer] = fit_encoding(
            features=stores[: len(layers)],
            layer=layer,
            responses=responses,
            settings=settings,
            study=study,
            nuisance=stores[len(layers) :],
            backend=backend,
        )
    return [
        (subject[0], found[place, layer])
        for place, subject in enumerate(subjects)
        for layer in layers
    ]


def unique_of(arguments: argparse.Namespace) -> dict[tuple[str, str], tuple[Path, xr.Dataset]]:
    """Estimate the unique variance of the signals, where there are others than the activation."""
    found = {}
    if len(arguments.signal_set.signals) < 2:
        return found
    n_layers = len(arguments.layers)
    for responses, *stores in tqdm(arguments.subject, desc="unique", unit="subject", disable=None):
        model, brain = read_model_and_subject(
            stores[:n_layers], responses, arguments.settings, stores[n_layers:]
        )
        store = measure_unique(model, brain, arguments.settings, arguments.study)
        found[store.attrs["dataset"], store.attrs["subject"]] = (responses, store)
    return found


def main(argv: list[str] | None = None) -> None:
    """Fit, summarise, write."""
    arguments = parser().parse_args(argv)
    for subject in arguments.subject:
        check_stores(subject, arguments.layers, arguments.settings)
        check_memory(subject, arguments.layers, alone(arguments.settings))
    fits = fits_of(arguments.subject, arguments.layers, alone(arguments.settings), arguments.study)
    subjects = subject_scores(fits, arguments.signal_set, unique_of(arguments))
    tables = [tidy_scores(store) for _, store in fits]
    write_table(arguments.scores, pd.concat(tables, ignore_index=True), kind="fit_scores")
    write_statistics(
        arguments.output,
        arguments.draws,
        summarise_all(subjects, arguments.statistics),
        attrs={"study": subjects[0].study, "model": subjects[0].model},
        provenance={"settings": arguments.settings.model_dump(mode="json")},
    )


if __name__ == "__main__":
    run(main)
