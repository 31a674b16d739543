"""Options that several command-line entries take: defined once, spelled alike everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from gradbrain.config.cli import json_argument
from gradbrain.config.errors import GradbrainError
from gradbrain.config.schema import (
    EncodingSettings,
    ModelEntry,
    Precision,
    ReliabilitySettings,
    SignalSet,
    StatisticsSettings,
)


def add_section(
    parser: argparse.ArgumentParser,
    name: str,
    section: type[BaseModel],
    *,
    option: str = "--settings",
    required: bool = False,
) -> None:
    """Let a command take a section of the config as JSON; its defaults where it is left out.

    Parameters
    ----------
    parser
        Of the command.
    name
        Key of the section in a study's config.
    section
        Class that validates it.
    option
        How the command line names it.
    required
        Whether the command refuses to go without.
    """
    parser.add_argument(
        option,
        type=json_argument(section),
        required=required,
        default=None if required else section(),
        help=f"section {name} of the study's config, as JSON",
    )


def add_features(parser: argparse.ArgumentParser) -> None:
    """Let a command take the features of a model."""
    parser.add_argument(
        "--features",
        nargs="+",
        type=Path,
        required=True,
        help="feature stores of all layers of the model, in depth order",
    )


def add_nuisance(parser: argparse.ArgumentParser) -> None:
    """Let a command take what stands beside the activations of all layers."""
    parser.add_argument(
        "--nuisance",
        nargs="*",
        type=Path,
        default=[],
        help="feature stores of the bands that the settings name under nuisance, in their order",
    )


def add_study(parser: argparse.ArgumentParser) -> None:
    """Let a command take the name of the study that a result belongs to."""
    parser.add_argument("--study", required=True, help="name of the study")


def add_encoding_inputs(parser: argparse.ArgumentParser) -> None:
    """Let a command take all that the signals of a model are looked at with in one subject."""
    add_features(parser)
    parser.add_argument("--responses", type=Path, required=True, help="response store")
    add_nuisance(parser)
    add_section(parser, "encoding", EncodingSettings, required=True)
    add_study(parser)


def add_subjects_of_dataset(parser: argparse.ArgumentParser) -> None:
    """Let a command take the subjects of a data set, who saw the same images."""
    parser.add_argument(
        "--responses",
        nargs="+",
        type=Path,
        required=True,
        help="response stores of all subjects of the data set, who saw the same images",
    )
    add_section(parser, "encoding", EncodingSettings)
    add_study(parser)


def add_fits(parser: argparse.ArgumentParser) -> None:
    """Let a command name the fits of a model by folder, layers and subjects.

    Their paths one by one grow with layers times subjects, and a shell takes no argument of
    128 KiB.
    """
    parser.add_argument(
        "--fits",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of the fits of one model, which holds one of each layer",
    )
    parser.add_argument("--layers", nargs="+", required=True, help="layers to take")
    parser.add_argument("--subjects", nargs="+", required=True, help="subjects to take")


def fit_paths(arguments: argparse.Namespace, suffix: str) -> list[Path]:
    """List the files of the fits that the options of :func:`add_fits` name.

    Parameters
    ----------
    arguments
        Parsed command line.
    suffix
        ``"zarr"`` for stores, ``"parquet"`` for tables.

    Returns
    -------
    list of Path
        Layer by layer, in the order given.
    """
    return [
        arguments.fits / layer / f"{subject}.{suffix}"
        for layer in arguments.layers
        for subject in arguments.subjects
    ]


def add_ceilings(parser: argparse.ArgumentParser) -> None:
    """Let a command take how well subjects predict one another."""
    parser.add_argument(
        "--ceilings", nargs="*", type=Path, default=[], help="ceilings between subjects (.parquet)"
    )


def add_unique(parser: argparse.ArgumentParser) -> None:
    """Let a command take the unique variance of signals."""
    parser.add_argument(
        "--unique",
        nargs="*",
        type=Path,
        default=[],
        help="unique variance of the signals, one store per subject (.zarr)",
    )


def add_statistics(parser: argparse.ArgumentParser) -> None:
    """Let a command take statistics of all models, and by what they are judged."""
    parser.add_argument(
        "--tables", nargs="+", type=Path, required=True, help="statistics of all models (.parquet)"
    )
    parser.add_argument(
        "--draws", nargs="+", type=Path, required=True, help="their stores, in the same order"
    )
    add_section(parser, "statistics", StatisticsSettings)
    parser.add_argument(
        "--scores", nargs="*", type=Path, default=[], help="score tables, with reliabilities"
    )
    add_section(parser, "reliability", ReliabilitySettings, option="--reliability")
    add_study(parser)
    parser.add_argument(
        "--untrained", nargs="*", default=[], help="models whose weights were not learnt"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Let a command take a model of the registry."""
    parser.add_argument(
        "--model", type=json_argument(ModelEntry), required=True, help="entry of the model, as JSON"
    )


def add_signal_set(parser: argparse.ArgumentParser, *, about: str) -> None:
    """Let a command take a signal set; `about` says what of it."""
    parser.add_argument("--signal-set", type=json_argument(SignalSet), required=True, help=about)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Let a command take the images that a network is shown."""
    parser.add_argument("--stimuli", type=Path, required=True, help="table of the stimulus set")
    parser.add_argument("--stimuli-name", required=True, help="name of the stimulus set")
    parser.add_argument("--calibration", type=Path, required=True, help="table of another set")


def add_chain(parser: argparse.ArgumentParser) -> None:
    """Let a command take all layers of a network, whichever it reads from."""
    parser.add_argument(
        "--chain", nargs="*", default=[], help="all layers in order of depth, for rules that need"
    )


def add_feedback(parser: argparse.ArgumentParser) -> None:
    """Let a command take what learning rules fitted on calibration images."""
    parser.add_argument(
        "--feedback", nargs="*", type=Path, default=[], help="fitted models, for rules that need"
    )


def add_passes(parser: argparse.ArgumentParser) -> None:
    """Let a command say with what and how a network is run."""
    parser.add_argument("--plugins", nargs="*", type=Path, default=[], help="files of plug-ins")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where weights/ lies")
    parser.add_argument("--batch-size", type=int, default=32, help="images per pass")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32")
    parser.add_argument("--threads", type=int, default=1, help="threads of this job")


def check_passes(arguments: argparse.Namespace) -> None:
    """Refuse passes of no image or no thread.

    Raises
    ------
    GradbrainError
        Names both options of :func:`add_passes`.
    """
    if arguments.batch_size < 1 or arguments.threads < 1:
        raise GradbrainError(
            f"--batch-size {arguments.batch_size} and --threads {arguments.threads}: "
            "both must be at least 1"
        )


def add_adapters(parser: argparse.ArgumentParser) -> None:
    """Let a command read data sets by adapters that are not the library's."""
    parser.add_argument(
        "--plugins",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="adapters of your own, each in a folder adapters/",
    )


def add_registries(parser: argparse.ArgumentParser) -> None:
    """Let a command know data sets that are not the library's."""
    parser.add_argument(
        "--registry",
        type=Path,
        nargs="*",
        default=[],
        help="folders that hold a datasets.yaml of your own, searched after config/",
    )
    add_adapters(parser)
