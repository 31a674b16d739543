"""How large a unique share a study would find: images x people x noise ceiling x share.

Brains are planted in features of a network and put through the test of C1 as the pipeline has it
(`gradbrain.encoding.unique_part`, `gradbrain.hierarchy.unique_share`). One region follows one
layer's activations; a share of its explainable variance is held by the part of that layer's
gradient which a least-squares fit to all activations leaves over *all* images of the file. Weights
and noise are drawn independently of the analysis.

    python benchmarks/extract_unique_features.py --photographs FOLDER --weights FILE --out F.npz
    python benchmarks/plan_unique_share.py run --features F.npz --out plan.jsonl
    python benchmarks/plan_unique_share.py run --features F.npz --plant OTHER.npz --out other.jsonl
    python benchmarks/plan_unique_share.py table --out plan.jsonl

With `--plant` brains hold the gradient of another network, taken of the same images.

A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.encoding.draws import draw_images
from gradbrain.encoding.unique_part import (
    ALL_IMAGES,
    BaselineKernels,
    SignalKernels,
    dose_moments,
)
from gradbrain.encoding.variance_components import (
    BaselineCovariance,
    estimate_components,
    permuted_estimates,
)
from gradbrain.hierarchy.unique_share import FLAT, Cells, GroupShare, PersonShare

N_TARGETS, N_DRAWS, MARGIN = 30, 199, 0.05


def read_out(features: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Targets (n_targets, n_images) of mean variance 1 under isotropic weights."""
    centred = features - features.mean(axis=0)
    centred *= np.sqrt(len(centred) / np.vdot(centred, centred))
    return random.standard_normal((N_TARGETS, centred.shape[1])) @ centred.T


class Design:
    """Images of one study, as its brains and its analysis see them."""

    def __init__(
        self,
        features: dict[str, np.ndarray],
        n_images: int,
        seed: int,
        plant: dict[str, np.ndarray] | None = None,
    ) -> None:
        photographs = features["photograph"]
        each = max(1, n_images // len(np.unique(photographs)))
        rows = np.concatenate(
            [np.flatnonzero(photographs == name)[:each] for name in np.unique(photographs)]
        )
        random = np.random.default_rng([seed, n_images])
        self.rows = np.sort(random.choice(rows, min(n_images, len(rows)), replace=False))
        groups = photographs[self.rows]
        activations = {name: features[f"{name}/activation"] for name in layers_of(features)}
        followed = middle_layer(features)
        every = np.concatenate([values - values.mean(axis=0) for values in activations.values()], 1)
        gradient = features[f"{followed}/{signal_of(features)}"]
        planted = gradient if plant is None else plant[f"{middle_layer(plant)}/{signal_of(plant)}"]
        centred = planted - planted.mean(axis=0)
        # What no linear read-out of activations gives, known from all images of the file.
        self.new = (centred - every @ np.linalg.lstsq(every, centred, rcond=None)[0])[self.rows]
        self.activation = activations[followed][self.rows]
        self.baseline = BaselineKernels.of(
            [values[self.rows] for values in activations.values()], [], groups
        )
        self.signal = SignalKernels.of(self.baseline.plain, gradient[self.rows], learning=True)
        self.permutations = draw_images(groups, N_DRAWS, seed, ALL_IMAGES).permutations

    def person(self, ceiling: float, share: float, random: np.random.Generator) -> PersonShare:
        """Plant a brain and estimate what it holds."""
        noise = random.standard_normal((N_TARGETS, len(self.rows)))
        values = np.sqrt(ceiling * (1.0 - share)) * read_out(self.activation, random)
        values += np.sqrt(ceiling * share) * read_out(self.new, random)
        values += np.sqrt(1.0 - ceiling) * noise
        values -= values.mean(axis=1, keepdims=True)
        values /= values.std(axis=1, keepdims=True)
        kernels = self.baseline.all
        covariance = BaselineCovariance.of(kernels, estimate_components(kernels, values))
        root = covariance.products_root(values)
        products = root.T @ root
        seen = [covariance.seen_root(kernel) for kernel in (self.signal.new, self.signal.flat)]
        form = covariance.forms(seen[:1])[0]
        moments = [dose_moments(form, kernel, root, N_TARGETS) for kernel in seen]
        return PersonShare(
            component=float(np.vdot(form, products)),
            null=permuted_estimates([form], products, self.permutations)[:, 0],
            explainable=ceiling,
            **{
                name: (moments[0][name], moments[1][name])
                for name in ("held", "cross_variance", "dose_variance")
            },
        )


def layers_of(features: dict[str, np.ndarray]) -> list[str]:
    """Layers of the file, from the first to the last."""
    return sorted({name.partition("/")[0] for name in features if "/" in name})


def middle_layer(features: dict[str, np.ndarray]) -> str:
    """The layer that the region follows, and whose gradient is planted and tested."""
    layers = layers_of(features)
    return layers[len(layers) // 2]


def signal_of(features: dict[str, np.ndarray]) -> str:
    """Name of the signal in the file that is no activation."""
    names = {name.partition("/")[2] for name in features} - {"", "activation"}
    return sorted(names)[0]


def run(arguments: argparse.Namespace) -> None:
    """Simulate what is not yet in the file."""
    features = dict(np.load(arguments.features))
    plant = None if arguments.plant is None else dict(np.load(arguments.plant))
    if plant is not None and not np.array_equal(plant["photograph"], features["photograph"]):
        raise SystemExit(f"{arguments.plant}: is of other images than {arguments.features}")
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    done = {tuple(json.loads(line)["cell"]) for line in lines}
    for n_images in arguments.images:
        designs = [Design(features, n_images, seed, plant) for seed in range(arguments.designs)]
        for ceiling in arguments.ceilings:
            for share in arguments.shares:
                cell = (n_images, ceiling, share)
                if cell in done:
                    continue
                start = time.process_time()
                found = simulate(designs, ceiling, share, arguments)
                record = {"cell": cell, "seconds": time.process_time() - start, "found": found}
                with arguments.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(json.dumps(record), flush=True)


def simulate(
    designs: list[Design], ceiling: float, share: float, arguments: argparse.Namespace
) -> list[dict]:
    """Verdicts and bounds of groups of people, who are drawn once and grouped in every size."""
    each = arguments.people // len(designs)
    pools = [
        [
            design.person(ceiling, share, np.random.default_rng([number, k, int(1000 * share), 7]))
            for k in range(each)
        ]
        for number, design in enumerate(designs)
    ]
    found = []
    for size in arguments.groups:
        for pool in pools:
            for start in range(0, len(pool) - size + 1, size):
                people = pool[start : start + size]
                judged = GroupShare(people, population=size >= 6, seed=start).judge(MARGIN)
                place = one_place(people)
                upper = place.upper()
                found.append(
                    {
                        "people": size,
                        "estimate": judged.estimate,
                        "covered": bool(judged.lower <= share <= upper),
                        "upper": upper,
                        "detectable": judged.detectable,
                        "supported": judged.test.p <= 0.05,
                        "contradicted": place.absent(MARGIN) <= 0.05,
                    }
                )
    return found


def one_place(people: list[PersonShare]) -> Cells:
    """One layer in one region, of which an upper bound is asked."""
    return Cells(
        component=np.array([[[person.component]] for person in people]),
        null=np.array([person.null[:, None, None] for person in people]),
        explainable=np.array([[person.explainable] for person in people]),
        held=np.array([[[person.held[FLAT]]] for person in people]),
        cross_variance=np.array([[[person.cross_variance[FLAT]]] for person in people]),
        dose_variance=np.array([[[person.dose_variance[FLAT]]] for person in people]),
        population=len(people) >= 6,
    )


def table(arguments: argparse.Namespace) -> None:
    """Print the rates as Markdown."""
    records = [json.loads(line) for line in arguments.out.read_text().splitlines()]
    shares = sorted({record["cell"][2] for record in records})
    heads = [f"{share:.0%}" for share in shares]
    print("| images | ceiling | people | groups | " + " | ".join(heads) + " | detectable |")
    print("|---" * (len(heads) + 5) + "|")
    keys = sorted({(*record["cell"][:2], one["people"]) for record in records
                   for one in record["found"]})  # fmt: skip
    for n_images, ceiling, people in keys:
        cells, detectable = [], []
        for share in shares:
            own = [
                one
                for record in records
                if record["cell"] == [n_images, ceiling, share]
                for one in record["found"]
                if one["people"] == people
            ]
            rates = (np.mean([one[key] for one in own]) for key in ("supported", "contradicted"))
            cells.append(" / ".join(f"{rate:.2f}" for rate in rates) if own else "")
            detectable += [one["detectable"] for one in own]
        typical = float(np.median(np.nan_to_num(detectable, nan=1.0)))
        said = f"{typical:.0%}" if typical < 1 else "–"
        print(
            f"| {n_images} | {ceiling:g} | {people} | {len(own)} | {' | '.join(cells)} | {said} |"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--features", type=Path)
    parser.add_argument(
        "--plant", type=Path, help="features of another network, whose gradient is planted"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[125, 250, 500, 1000])
    parser.add_argument("--ceilings", type=float, nargs="+", default=[0.1, 0.3])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.05, 0.1, 0.2])
    parser.add_argument("--people", type=int, default=160, help="brains of every cell")
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--designs", type=int, default=2, help="choices of images and draws")
    arguments = parser.parse_args()
    {"run": run, "table": table}[arguments.command](arguments)


if __name__ == "__main__":
    main()
