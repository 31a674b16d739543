"""Compare what selection by GCV, leave-one-out and grouped K-fold reaches on held-out images.

Two bands of falling variance; the first carries the signal of half of the targets, both that of the
others. In `plain` every image stands alone. In `repeated` every image was shown three times and
each repeat is a row: the same features, new noise. In `clustered` images come in groups of six
that share nine tenths of the variance of their features, as crops of a photograph or frames of a
film do; in `clustered_noise` they share half of what the features do not explain as well.
Held-out images share no group with training images. All selections choose among the same penalties
and band weights; `kfold` alone is told the groups. The last line is JSON with the held-out R² (mean
over targets and data sets, and the standard error of its difference from `kfold` over data sets);
the table of docs/method.md goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np

from gradbrain.encoding.bands import make_band
from gradbrain.encoding.estimator import BandedRidge

SIZES = ((74, 1280), (300, 2000), (2000, 512))
DESIGNS = {"plain": 1, "repeated": 3, "clustered": 6, "clustered_noise": 6}
# Shares of variance that images of a group have in common.
SHARED_FEATURES = {"plain": 0.0, "repeated": 1.0, "clustered": 0.9, "clustered_noise": 0.9}
SHARED_NOISE = {"plain": 0.0, "repeated": 0.0, "clustered": 0.0, "clustered_noise": 0.5}
SELECTIONS = ("gcv", "loo", "kfold")
N_TEST, N_TARGETS = 300, 60
# Leading dimensions of a band that carry signal.
N_LATENTS = 20
# Variance of the noise over that of the signal.
NOISE = 3.0


def make_data(
    n_train: int, n_features: int, design: str, seed: int
) -> tuple[list, np.ndarray, np.ndarray, list, np.ndarray]:
    """Training bands, responses and groups; held-out bands and responses."""
    generator = np.random.default_rng(seed)
    of_group = DESIGNS[design]
    n_groups = -(-n_train // of_group)
    of_training = np.repeat(np.arange(n_groups), of_group)[:n_train]
    # Held-out images are groups of their own.
    groups = np.concatenate([of_training, n_groups + np.arange(N_TEST)])

    def draw(width: int, share: float) -> np.ndarray:
        common = generator.standard_normal((groups.max() + 1, width))[groups]
        own = generator.standard_normal((len(groups), width))
        return np.sqrt(share) * common + np.sqrt(1.0 - share) * own

    width = n_features // 2
    spectrum = (1.0 + np.arange(width)) ** -0.5
    latents = [draw(width, SHARED_FEATURES[design]) * spectrum for _ in range(2)]
    signal = np.zeros((len(groups), N_TARGETS))
    for number, latent in enumerate(latents):
        targets = slice(0 if number == 0 else N_TARGETS // 2, N_TARGETS)
        coefficients = generator.standard_normal((N_LATENTS, N_TARGETS))
        signal[:, targets] += (latent[:, :N_LATENTS] @ coefficients)[:, targets]
    signal /= signal.std(axis=0)
    responses = signal + np.sqrt(NOISE) * draw(N_TARGETS, SHARED_NOISE[design])
    # Mixed, so that standardising columns leaves the spectrum as it is.
    bands = [latent @ generator.standard_normal((width, width)) for latent in latents]
    scaled = [make_band(band[:n_train], band[n_train:]) for band in bands]
    return (
        [band.train for band in scaled],
        responses[:n_train],
        groups[:n_train],
        [band.test for band in scaled],
        responses[n_train:],
    )


def compare(n_train: int, n_features: int, design: str, n_data_sets: int) -> dict[str, object]:
    """Held-out R² and CPU seconds of every selection."""
    r2 = np.zeros((n_data_sets, len(SELECTIONS)))
    seconds = np.zeros(len(SELECTIONS))
    for seed in range(n_data_sets):
        train, responses, groups, test, truth = make_data(n_train, n_features, design, seed)
        for column, selection in enumerate(SELECTIONS):
            start = time.process_time()
            model = BandedRidge(selection=selection).fit(train, responses, groups)
            seconds[column] += (time.process_time() - start) / n_data_sets
            r2[seed, column] = model.score(test, truth).mean()
    against = r2[:, :2] - r2[:, 2:]
    error = against.std(axis=0, ddof=1) / np.sqrt(n_data_sets)
    return {
        "n": n_train,
        "p": n_features,
        "images": design,
        "r2": dict(zip(SELECTIONS, r2.mean(axis=0).round(4).tolist(), strict=True)),
        "minus_kfold": dict(zip(SELECTIONS, against.mean(axis=0).round(4).tolist(), strict=False)),
        "standard_error": dict(zip(SELECTIONS, error.round(4).tolist(), strict=False)),
        "cpu_seconds": dict(zip(SELECTIONS, seconds.round(3).tolist(), strict=True)),
    }


def table(rows: list[dict]) -> str:
    """Rows as a table in Markdown."""
    lines = [
        "| n | p | images | gcv | loo | grouped kfold | gcv − kfold | CPU s: gcv, loo, kfold |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        r2, seconds = row["r2"], row["cpu_seconds"]
        lines.append(
            f"| {row['n']} | {row['p']} | {row['images']} | "
            + " | ".join(f"{r2[name]:.3f}" for name in SELECTIONS)
            + f" | {row['minus_kfold']['gcv']:+.3f} ± {row['standard_error']['gcv']:.3f} | "
            + ", ".join(f"{seconds[name]:.2f}" for name in SELECTIONS)
            + " |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=5, help="draws of the data")
    arguments = parser.parse_args()
    rows = []
    for n_train, n_features in SIZES:
        for design in DESIGNS:
            rows.append(compare(n_train, n_features, design, arguments.data_sets))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows), file=sys.stderr)
    print(json.dumps({"data_sets": arguments.data_sets, "rows": rows}))


if __name__ == "__main__":
    main()
