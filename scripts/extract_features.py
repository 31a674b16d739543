"""Extract activations and learning signals of one or several layers of a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(LIBRARY))

from gradbrain.config import GradbrainError
from gradbrain.config.cli import json_argument, learnt, run
from gradbrain.config.options import (
    add_chain,
    add_feedback,
    add_images,
    add_model,
    add_passes,
    add_signal_set,
    check_passes,
)
from gradbrain.config.plugins import Plugins, weights_use
from gradbrain.config.schema import SignalSet
from gradbrain.plan.code_inputs import code_digest, plugin_inputs
from gradbrain.signals.needs import plugins_of, uses_of


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    parser.add_argument("--layers", nargs="+", required=True, help="modules of the network")
    parser.add_argument("--depths", nargs="+", type=float, required=True, help="one per layer")
    add_signal_set(parser, about="signal set with its signals, as JSON")
    add_images(parser)
    add_chain(parser)
    add_feedback(parser)
    parser.add_argument(
        "--targets",
        nargs="?",
        type=Path,
        help="what objectives compare images with, of scripts/compute_objective_targets.py; "
        "without it is computed here",
    )
    add_passes(parser)
    parser.add_argument(
        "--further-sets",
        nargs="*",
        type=json_argument(SignalSet),
        default=[],
        help="sets that pool, project or normalise the same signals otherwise, read from the same "
        "passes",
    )
    parser.add_argument(
        "--output",
        nargs="+",
        type=Path,
        required=True,
        help="one per layer; those of further sets after them, set by set",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    n_layers, n_sets = len(arguments.layers), 1 + len(arguments.further_sets)
    counts = {n_layers, len(arguments.depths), len(arguments.output) / n_sets}
    if len(counts) != 1:
        raise GradbrainError(
            f"{n_layers} --layers, {len(arguments.depths)} --depths and "
            f"{len(arguments.output)} --output were given; expected as many of each, and as many "
            "outputs again for each of --further-sets"
        )
    check_passes(arguments)
    plugins = Plugins(files=arguments.plugins)
    model, signals = arguments.model, arguments.signal_set.signals
    source = weights_use(model, plugins, where=f"models.yaml: model {model.name!r}").plugin
    used = (source, *plugins_of(uses_of(signals, plugins)))
    # Importing torch takes seconds; a wrong command line is said without it.
    from gradbrain.signals.device import set_up
    from gradbrain.signals.extraction import ExtractionJob, Readout, run_extraction
    from gradbrain.signals.layer_stores import LayerRequest

    def requests(place: int) -> tuple[LayerRequest, ...]:
        outputs = arguments.output[place * n_layers : (place + 1) * n_layers]
        rows = zip(arguments.layers, arguments.depths, outputs, strict=True)
        return tuple(LayerRequest(*row) for row in rows)

    job = ExtractionJob(
        entry=model,
        signal_set=arguments.signal_set,
        layers=requests(0),
        further=tuple(
            Readout(found, requests(place))
            for place, found in enumerate(arguments.further_sets, start=1)
        ),
        stimuli=arguments.stimuli,
        stimuli_name=arguments.stimuli_name,
        calibration=arguments.calibration,
        data=arguments.data,
        batch_size=arguments.batch_size,
        code_digest=code_digest(Path(__file__), LIBRARY, *plugin_inputs(used)),
        chain=tuple(arguments.chain),
        feedback=tuple(arguments.feedback),
        plugins=plugins,
        targets=arguments.targets,
    )
    run_extraction(job, set_up(arguments.device, arguments.precision, arguments.threads))
    learnt(f"{len(signals)} signals of {n_layers} layer{'s' if n_layers > 1 else ''}")


if __name__ == "__main__":
    run(main, memory="a lower features.batch_size, features.unit: layer")
