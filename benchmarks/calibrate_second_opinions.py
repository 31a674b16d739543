"""Size and power of second opinions, by the pipeline's own functions on brains that are known.

    python benchmarks/calibrate_second_opinions.py run --out results/calibration --seeds 100
    python benchmarks/calibrate_second_opinions.py table --out results/calibration

Four layers, of which each is a random function of the one before, predict eight regions that follow
the layers in order, in people who saw the same images. Each study is drawn anew: images, weights,
noise. Fits, dissimilarities, statistics and tests are those of a study; the unique rows are tested
here, as they are nowhere else, to see what such a test would say. Every finished study is a line of
a file in the folder, and is not run again. `table` prints what is there as Markdown.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from gradbrain.config.schema import (
    EncodingSettings,
    RsaSettings,
    SignalEntry,
    SignalSet,
    StatisticsSettings,
)
from gradbrain.encoding.backend import make_backend
from gradbrain.encoding.fit import fit_layer
from gradbrain.encoding.inputs import ImageGroups, LayerFeatures, Responses
from gradbrain.encoding.scores import UnitLayout
from gradbrain.encoding.shared_decompositions import SharedDecompositions
from gradbrain.hierarchy.claims import judge
from gradbrain.hierarchy.rdm_scores import rdm_scores
from gradbrain.hierarchy.second_opinion import PREDICTIONS_BY_DISSIMILARITY
from gradbrain.hierarchy.subject_scores import SubjectScores, fits_by_subject
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.store import SignalIdentity
from gradbrain.vocabulary.measures import RDM_R, R

FLOATS = np.ndarray
ACTIVATION = SignalIdentity("activation", "activation", "activation")
GRADIENT = SignalIdentity("gradient", "learning", "backprop", "dino")
SIGNAL_SET = SignalSet(
    name="simulated",
    signals=(
        SignalEntry(name="activation", role="activation", rule="activation"),
        SignalEntry(name="gradient", role="learning", rule="backprop", objective="dino"),
    ),
)
ENCODING = EncodingSettings(
    n_folds=5, n_draws=100, n_penalties=6, n_band_weights=5, selection="gcv"
)
RSA = RsaSettings(encoding=True)
LAYERS = [f"layer{number}" for number in range(4)]
DEPTHS = [0.25, 0.5, 0.75, 1.0]
REGIONS = tuple(f"R{number}" for number in range(8))
WIDTH, N_LATENT, N_TARGETS = 40, 16, 12
# Of a response's variance.
EXPLAINED, HELD = 0.4, 0.5
#: What the signal is, and what the brain holds beside activations.
KINDS = {
    "noise": "signal of noise",
    "mix": "signal a linear mix of its layer",
    "nonlinear": "signal a nonlinear function of all layers",
    "held": f"signal of which the brain holds {HELD:.0%} of the explained variance",
    "held_high": "the same in the last four regions alone",
    "held_noisier": "the same in all regions, of which the first four are noisier",
    "silent": "brain of noise alone",
    "arbitrary": "brain that follows layers in an arbitrary order, the same in all people",
}
DESIGNS = [
    *((kind, 6, 100) for kind in KINDS),
    *((kind, 2, 100) for kind in ("noise", "silent")),
    ("held", 6, 250),
]
# Rows that are shown, in their order: what is correlated, prediction, variant.
ROWS = [
    ("RDM", "A1", "raw"),
    ("RDM", "P1", "raw"),
    ("r", "P1", "raw"),
    ("RDM", "P2", "raw"),
    ("r", "P2", "raw"),
    ("RDM", "C1", "unique"),
]


def signal_of(kind: str, layers: list[FLOATS], place: int, random: np.random.Generator) -> FLOATS:
    """Learning signal of a layer, shape (n_images, WIDTH)."""
    if kind == "mix":
        return layers[place] @ random.standard_normal((WIDTH, WIDTH))
    if kind == "nonlinear":
        everything = np.concatenate(layers, axis=1)
        weights = random.standard_normal((everything.shape[1], WIDTH))
        return np.tanh(everything @ weights / 6.0) ** 2
    return random.standard_normal((len(layers[place]), WIDTH))


def _read_out(features: FLOATS, random: np.random.Generator) -> FLOATS:
    """Targets of variance 1 that read features, shape (n_images, N_TARGETS)."""
    targets = features @ random.standard_normal((features.shape[1], N_TARGETS))
    return (targets - targets.mean(axis=0)) / targets.std(axis=0)


def responses_of(
    kind: str, layers: list[FLOATS], signals: list[FLOATS], order: FLOATS, subject: str, seed: Any
) -> Responses:
    """Responses of one person in all regions."""
    random = np.random.default_rng(seed)
    n_images, parts = len(layers[0]), []
    for region, place in enumerate(order):
        signal = _read_out(layers[place], random)
        high = region >= len(REGIONS) / 2
        if kind in ("held", "held_noisier") or (kind == "held_high" and high):
            held = _read_out(signals[place], random)
            signal = np.sqrt(1.0 - HELD) * signal + np.sqrt(HELD) * held
        explained = 0.0 if kind == "silent" else EXPLAINED
        if kind == "held_noisier" and not high:
            explained /= 2
        noise = random.standard_normal(signal.shape)
        parts.append(np.sqrt(explained) * signal + np.sqrt(1.0 - explained) * noise)
    values = np.concatenate(parts, axis=1).T
    stops = N_TARGETS * np.arange(1, len(REGIONS) + 1)
    ids = np.array([f"image{number:03d}" for number in range(n_images)])
    return Responses(
        values=values.astype(np.float32),
        images=ImageGroups(
            image_ids=ids,
            groups=ids,
            test_images=None,
            n_repeats=np.ones(n_images, dtype=np.int64),
            order=np.arange(n_images),
            digest="",
        ),
        layout=UnitLayout(REGIONS, stops, len(values), False),
        target_order=np.arange(len(values)),
        target_coords={"roi": np.repeat(REGIONS, N_TARGETS)},
        unit_time=None,
        n_unreliable=0,
        reliable=np.ones(len(values), dtype=bool),
        ceiling=None,
        noise_ceiling=None,
        n_below_floor=0,
        attrs={
            "dataset": "simulated",
            "subject": subject,
            "modality": "fmri",
            "axis": "roi",
            "sensors": "voxels",
            "space": "virtual",
            "rotation_invariant": False,
            "roi_order": list(REGIONS),
            "early_rois": list(REGIONS[:4]),
            "high_rois": list(REGIONS[4:]),
            "roi_distance": {name: 10.0 * rank for rank, name in enumerate(REGIONS)},
            "onset_s": 0.0,
            "digest": "",
        },
    )


def study(kind: str, people: int, images: int, seed: int) -> pd.DataFrame:
    """Second opinions on one simulated study, unique rows tested as well.

    Parameters
    ----------
    kind
        One of `KINDS`.
    people, images
        Their numbers.
    seed
        Of everything that is drawn.

    Returns
    -------
    pandas.DataFrame
        Columns of the kind ``claims``, and ``by``: ``RDM``, or ``r`` for the same tests of the
        predictions themselves.
    """
    random = np.random.default_rng([seed, 1])
    latent = random.standard_normal((images, N_LATENT))
    layers = []
    for _ in LAYERS:
        layers.append(latent @ random.standard_normal((N_LATENT, WIDTH)) / np.sqrt(N_LATENT))
        mixed = latent @ random.standard_normal((N_LATENT, N_LATENT)) / np.sqrt(N_LATENT)
        latent = np.tanh(2.0 * mixed)
    signals = [signal_of(kind, layers, place, random) for place in range(len(LAYERS))]
    order = np.arange(len(REGIONS)) * len(LAYERS) // len(REGIONS)
    if kind == "arbitrary":
        order = random.permutation(order)
    backend = SharedDecompositions(make_backend("numpy", "cpu"))
    stores = []
    for person in range(people):
        subject = f"simulated-s{person}"
        brain = responses_of(kind, layers, signals, order, subject, [seed, 2, person])
        for place, layer in enumerate(LAYERS):
            features = LayerFeatures(
                signals={ACTIVATION: layers[place], GRADIENT: signals[place]},
                activations=dict(zip(LAYERS, layers, strict=True)),
                layers=LAYERS,
                attrs={
                    "model": "simulated",
                    "layer": layer,
                    "depth": DEPTHS[place],
                    "signal_set": SIGNAL_SET.name,
                    "stimuli": "simulated",
                    "digest": "",
                },
            )
            store = fit_layer(features, brain, ENCODING, "simulated", backend=backend, rsa=RSA)
            stores.append((Path(subject) / layer, store))
    second = rdm_scores(stores, SIGNAL_SET)
    first = [subject for subject, _ in fits_by_subject(stores, SIGNAL_SET)]
    read = {"RDM": second, "r": list(map(_with_scores_of, second, first))}
    return pd.concat(
        [_judged(subjects).assign(by=by) for by, subjects in read.items()], ignore_index=True
    )


def _with_scores_of(second: SubjectScores, first: SubjectScores) -> SubjectScores:
    """Scores of a subject in which r of predictions stands where that of dissimilarities stood."""

    def exchanged(name: str) -> dict[tuple[str, str], FLOATS]:
        raw = getattr(first, name)
        return {
            (signal, measure): raw[signal, R.name] if measure == RDM_R.name else values
            for (signal, measure), values in getattr(second, name).items()
        }

    return replace(second, **{name: exchanged(name) for name in ("unit_score", "boot", "null")})


def _judged(subjects: list[SubjectScores]) -> pd.DataFrame:
    settings = StatisticsSettings()
    statistics = summarise_all(subjects, settings)
    return judge(statistics, settings, study="simulated", predictions=PREDICTIONS_BY_DISSIMILARITY)


def run(file: Path, designs: Iterable[tuple[str, int, int]], n_seeds: int) -> None:
    """Run what is not in the file yet, a line per study."""
    file.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["kind"], row["people"], row["images"], row["seed"]) for row in lines_of(file)}
    wanted = [(*design, seed) for seed in range(n_seeds) for design in designs]
    for kind, people, images, seed in wanted:
        if (kind, people, images, seed) in done:
            continue
        start = time.process_time()
        claims = study(kind, people, images, seed)
        shown = claims[["by", "prediction", "variant", "estimate", "p", "p_opposite", "reason"]]
        row = {"kind": kind, "people": people, "images": images, "seed": seed}
        row |= {"cpu_s": time.process_time() - start, "claims": shown.to_dict("records")}
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Studies that were run."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def share(hits: int, n: int) -> str:
    """A share with its exact 95 % binomial interval."""
    interval = binomtest(hits, n).proportion_ci()
    return f"{hits / n:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def table(rows: list[dict[str, Any]], alpha: float = 0.05) -> list[str]:
    """Lines of a Markdown table: how often each row passes, in both directions."""
    head = ["brain", "people", "images", "studies"]
    for by, name, variant in ROWS:
        tested = "" if variant == "raw" else " (*not in use*)"
        head += [f"{name} {variant}, {by}{tested}", "opposite"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for kind, people, images in DESIGNS:
        own = [
            row["claims"]
            for row in rows
            if (row["kind"], row["people"], row["images"]) == (kind, people, images)
        ]
        if not own:
            continue
        cells = [KINDS[kind], str(people), str(images), str(len(own))]
        for place in ROWS:
            found = [
                claim
                for claims in own
                for claim in claims
                if (claim["by"], claim["prediction"], claim["variant"]) == place
            ]
            for column in ("p", "p_opposite"):
                # NaN, of what could not be tested, passes nothing.
                hits = sum(claim[column] <= alpha for claim in found)
                cells.append(share(hits, len(found)))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--designs", type=int, nargs="*", help="places of designs; else all")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    file = arguments.out / "second_opinions.jsonl"
    if arguments.what == "run":
        chosen = DESIGNS if arguments.designs is None else [DESIGNS[k] for k in arguments.designs]
        run(file, chosen, arguments.seeds)
        return
    rows = lines_of(file)
    print(f"{len(rows)} studies, {sum(row['cpu_s'] for row in rows):.0f} s\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
