"""Write the responses of one subject to its stimuli as a complete Zarr store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.options import add_adapters
from gradbrain.config.plugins import Plugins
from gradbrain.config.schema import DatasetEntry
from gradbrain.datasets.narrow import narrow_responses
from gradbrain.datasets.pinned_files import check_pinned
from gradbrain.datasets.registry import adapter, read_options, registry_folders, with_fetch
from gradbrain.datasets.responses import TargetBlocks, check_responses, write_target_blocks
from gradbrain.datasets.stimuli import read_stimuli
from gradbrain.store import read_table, stimuli_digests, write_store
from gradbrain.store.stimuli_identity import DIGESTS


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--entry", type=json_argument(DatasetEntry), required=True, help="data set entry, JSON"
    )
    parser.add_argument("--subject", required=True, help="subject, as the entry names it")
    parser.add_argument("--stimuli", type=Path, required=True, help="table of the stimulus set")
    parser.add_argument(
        "--images", type=Path, help="table of the images that the study takes; by default all"
    )
    parser.add_argument(
        "--folds", type=Path, help="table of the outer folds; by default groups decide"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--features", type=Path, nargs="*", default=[], help="feature stores that are planted"
    )
    add_adapters(parser)
    parser.add_argument(
        "--registries",
        type=Path,
        nargs="*",
        default=[],
        help="folders that say what checksums files have",
    )
    parser.add_argument("--output", type=Path, required=True, help="store to write (.zarr)")
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    entry: DatasetEntry = arguments.entry
    if arguments.subject not in entry.subjects:
        raise GradbrainError(
            f"subject {arguments.subject!r} is not one of data set {entry.name!r}; "
            f"datasets.yaml names {', '.join(entry.subjects) or 'none'}"
        )
    plugins = Plugins(files=arguments.plugins)
    source = adapter(entry.adapter, plugins=plugins)
    options = read_options(entry, plugins=plugins)
    if arguments.registries:
        listed = with_fetch(entry, registry_folders(ROOT, arguments.registries), plugins)
        check_pinned(listed, arguments.data)
    # Files of other people are no concern of this job.
    own = entry.model_copy(update={"subjects": (arguments.subject,)})
    problems = source.check(own, options, arguments.data)
    if problems:
        raise GradbrainError("; ".join(problems))
    stimuli = read_stimuli(arguments.stimuli)
    made = source.responses(
        entry, options, arguments.subject, stimuli, arguments.data, arguments.features
    )
    facts = source.provenance(entry, options, arguments.subject, stimuli, arguments.features)
    if arguments.images or arguments.folds:
        whole, n_all = stimuli, len(stimuli)
        stimuli = read_stimuli(arguments.images) if arguments.images else whole
        folds = read_table(arguments.folds, kind="folds") if arguments.folds else None
        origin = {DIGESTS: stimuli_digests(stimuli)}
        made, stimuli = narrow_responses(made, whole, stimuli, folds)
        left = f", {len(stimuli)} of {n_all} images are part of the study"
    else:
        # Readers hold features of other pictures with the same ids against it.
        origin = {DIGESTS: stimuli_digests(stimuli)}
        left = ""
    output = arguments.output
    if isinstance(made, TargetBlocks):
        n_targets, n_masked = write_target_blocks(output, made, provenance=facts, made_from=origin)
        shape = {"image": len(stimuli), "target": n_targets}
    else:
        check_responses(made, stimuli)
        write_store(output, made, kind="responses", provenance=facts, made_from=origin)
        shape = {str(name): size for name, size in made["response"].sizes.items()}
        n_masked = made.attrs["n_masked_targets"]
    sizes = " × ".join(f"{size} {name}s" for name, size in shape.items())
    learnt(f"{sizes}, {n_masked} targets masked{left}")


if __name__ == "__main__":
    run(main)
