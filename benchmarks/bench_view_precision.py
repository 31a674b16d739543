"""What a signal loses where augmented views pass in bf16, and what that saves.

For each objective that looks at views, with common views of Sobol sequences: the centred cosine
of the signal with that of the same views in fp32 (as benchmarks/bench_views.py takes it: columns
centred over images, Frobenius inner product), in the layer where it is least and in the median
layer; beside it the cosine between two seeds of the views in fp32, which is what chance costs; and
the processor time of a view of all images in fp32 over that in bf16. Passes that are differentiated
run in fp32 in both.

    python benchmarks/bench_view_precision.py mobilenetv2_100_imagenet1k --photos FOLDER

Prints a row of a table in Markdown per objective.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench_views import OBJECTIVES, Bench, signal_of


def compare(bench: Bench, objectives: list[str], n_views: int) -> list[str]:
    """Rows of the table."""
    entries = [
        signal_of(name, shared=True, sampling="sobol", n_views=n_views) for name in objectives
    ]
    exact, other = (bench.signals(entries, replicate) for replicate in (1, 2))
    usual = bench.costs("dino")[1]
    bench.model = replace(bench.model, view_autocast=torch.bfloat16)
    reduced = bench.signals(entries, 1)
    faster = usual / bench.costs("dino")[1]
    rows = []
    for name in objectives:
        layers = [key for key in exact if key.partition(" ")[0] == name]
        cosines = np.array([(exact[key] * reduced[key]).sum() for key in layers])
        seeds = np.array([(exact[key] * other[key]).sum() for key in layers])
        rows.append(
            f"| {bench.entry.name}, {bench.entry.input_size} px | `{name}` "
            f"| {cosines.min():.4f} / {np.median(cosines):.4f} "
            f"| {seeds.min():.3f} / {np.median(seeds):.3f} | {faster:.1f} |"
        )
    return rows


def main() -> None:
    """Compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="entry of models.yaml")
    parser.add_argument("--size", type=int, help="edge of the input in px, instead of the entry's")
    parser.add_argument("--photos", type=Path, required=True, help="folder of .jpg files")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of weights")
    parser.add_argument("--registries", type=Path, nargs="*", default=[])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--views", type=int, default=32)
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=["dino"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.set_defaults(precision="fp32")
    arguments = parser.parse_args()
    print("| network | objective | bf16 and fp32, least / median layer | two seeds | time |")
    print("|---|---|---|---|---|")
    print("\n".join(compare(Bench(arguments), arguments.objectives, arguments.views)), flush=True)


if __name__ == "__main__":
    main()
