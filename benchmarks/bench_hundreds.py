"""Time what follows the fits at hundreds of models: statistics, claims, comparisons, pages.

Scores are drawn, (person, layer, region) of every signal with the draws that fits keep, and go
through the code of the rules: statistics of each model are made and written as `score_hierarchy`
does; `test_claims` and `compare_models` then run as the rules call them. Each stage is measured
with a part of the models as well, to see what is more than linear. The last line is JSON.

    python benchmarks/bench_hundreds.py --models 56 224
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import pandas as pd

from gradbrain.config.schema import StatisticsSettings
from gradbrain.hierarchy.subject_scores import Signal, SubjectScores
from gradbrain.hierarchy.summaries import summarise_all
from gradbrain.store import write_statistics, write_table
from gradbrain.vocabulary.artefacts import columns_of
from gradbrain.vocabulary.roles import ACTIVATION, CONTROL, LEARNING, ROI

PEOPLE, N_LAYERS, N_DRAWS, STUDY = 8, 22, 200, "hundreds"
REGIONS = ("V1", "V2", "V3", "V4", "LO", "PHC", "FFA", "IT")
DISTANCE = dict(zip(REGIONS, np.linspace(0.0, 60.0, len(REGIONS)), strict=True))
DEPTHS = np.linspace(1 / N_LAYERS, 1.0, N_LAYERS)
SIGNALS = {
    "activation": Signal(ACTIVATION, "activation", ""),
    "gradient": Signal(LEARNING, "backprop", "dino", ("fixed", "shuffled")),
    "fixed": Signal(CONTROL, "backprop", "fixed_cotangent"),
    "shuffled": Signal(CONTROL, "backprop", "shuffled_cotangent"),
}
MEASURES = {"raw": "r", "unique": "unique_variance"}
OBJECTIVES = ("supervised", "dino", "masked_pixels", "contrastive")


def factors(n_models: int) -> list[dict[str, object]]:
    """Architectures of eight families; each with four objectives, three initialisations beside."""
    found: list[dict[str, object]] = []
    for number in range(n_models):
        architecture, place = divmod(number, 7)
        common = {"architecture": f"net{architecture}", "family": f"family{architecture % 8}"}
        common |= {"parameters": 5.0 * (1 + architecture)}
        own = {"objective": OBJECTIVES[place], "diet": "in1k"} if place < 4 else {"trained": False}
        found.append({"model": f"net{architecture}_with_a_long_name.{place}", **common, **own})
    return found


def people_of(model: str, seed: int) -> list[SubjectScores]:
    """Draw the scores of all people of a model: each region has a best layer of its own."""
    random = np.random.default_rng(seed)
    shape = (N_LAYERS, len(REGIONS))
    best = np.linspace(0.2, 0.9, len(REGIONS)) + 0.05 * random.standard_normal(len(REGIONS))
    common = 0.3 * np.exp(-(((DEPTHS[:, None] - best) / 0.4) ** 2))
    found = []
    for person in range(PEOPLE):
        observed, boot, null = {}, {}, {}
        for signal in SIGNALS:
            for measure in MEASURES.values():
                scale = 1.0 if measure == "r" else 0.1
                noise = 0.02 * scale
                key = (signal, measure)
                observed[key] = scale * common + noise * random.standard_normal(shape)
                boot[key] = observed[key] + noise * random.standard_normal((N_DRAWS, *shape))
                null[key] = noise * random.standard_normal((N_DRAWS, *shape))
        found.append(
            SubjectScores(
                study=STUDY,
                dataset="people",
                subject=f"people-s{person}",
                modality="fmri",
                axis=ROI,
                model=model,
                layers=tuple(f"blocks.{layer}" for layer in range(N_LAYERS)),
                depths=DEPTHS,
                signals=SIGNALS,
                units=REGIONS,
                unit_time=np.full(len(REGIONS), np.nan),
                early_rois=("V1", "V2"),
                high_rois=("FFA", "IT"),
                coverage="",
                roi_distance=DISTANCE,
                target_roi=np.array(REGIONS),
                unit_score=observed,
                boot=boot,
                null=null,
                target_score=observed,
                n_groups=200,
                n_folds=5,
            )
        )
    return found


def scores_of(people: list[SubjectScores]) -> pd.DataFrame:
    """The rows of the table of scores that these people have."""
    parts = []
    names = {"r": "r", "unique_variance": "unique_r2"}
    for person in people:
        for (signal, measure), values in person.unit_score.items():
            about = SIGNALS[signal]
            layer, unit = np.meshgrid(range(N_LAYERS), range(len(REGIONS)), indexing="ij")
            parts.append(
                pd.DataFrame(
                    {
                        "subject": person.subject,
                        "layer": np.array(person.layers)[layer.ravel()],
                        "depth": DEPTHS[layer.ravel()],
                        "layer_index": layer.ravel(),
                        "signal": signal,
                        "role": about.role,
                        "rule": about.rule,
                        "objective": about.objective,
                        "measure": names[measure],
                        "roi": np.array(REGIONS)[unit.ravel()],
                        "roi_rank": unit.ravel(),
                        "value": values.ravel(),
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True)
    first = people[0]
    same = {"study": STUDY, "dataset": first.dataset, "modality": first.modality}
    same |= {"axis": first.axis, "model": first.model, "onset_source": "", "n_groups": 200}
    table = table.assign(**same, rho=table["value"] / 2, p=0.01, n_images=100)
    return table.reindex(columns=list(dict.fromkeys([*columns_of("scores"), *columns_of("rsa")])))


def write_model(folder: Path, model: str, seed: int) -> float:
    """Write all tables of a model; processor seconds of its statistics."""
    people = people_of(model, seed)
    start = time.process_time()
    statistics = summarise_all(people, StatisticsSettings())
    for name in ("hierarchy", "scores"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_statistics(
        folder / "hierarchy" / f"{model}.parquet",
        folder / "hierarchy" / f"{model}.zarr",
        statistics,
        attrs={"study": STUDY, "model": model},
    )
    seconds = time.process_time() - start
    table = scores_of(people)
    scores = table[list(columns_of("scores"))]
    write_table(folder / "scores" / f"{model}.parquet", scores, kind="scores")
    (folder / "rsa" / model).mkdir(parents=True)
    alone = table[table["measure"] == "r"][list(columns_of("rsa"))]
    for subject, own in alone.groupby("subject"):
        write_table(folder / "rsa" / model / f"{subject}.parquet", own, kind="rsa")
    return seconds


def measured(name: str, *arguments: str) -> dict[str, float]:
    """Run a script; its processor seconds and memory."""
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    told = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(told[-3000:])
    seconds = used.ru_utime + used.ru_stime
    return {f"{name}_cpu_s": round(seconds, 1), f"{name}_gib": round(used.ru_maxrss / 2**20, 2)}


def measure(folder: Path, models: list[dict[str, object]]) -> dict[str, float]:
    """Time the stages of a study on some of its models, and the size of what they write."""
    names = [str(model["model"]) for model in models]
    untrained = [str(model["model"]) for model in models if not model.get("trained", True)]

    def of(kind: str, ending: str) -> list[str]:
        return [str(folder / kind / f"{name}.{ending}") for name in names]

    out = folder / f"of_{len(models)}"
    out.mkdir()
    result: dict[str, float] = {"models": len(models)}
    result |= measured(
        "test_claims",
        *("--tables", *of("hierarchy", "parquet"), "--draws", *of("hierarchy", "zarr")),
        *("--scores", *of("scores", "parquet"), "--study", STUDY, "--untrained", *untrained),
        *("--output", str(out / "claims.csv"), "--summary", str(out / "claims.md")),
        *("--over-models", str(out / "claims_over_models.csv")),
    )
    result["claims_page_kb"] = round((out / "claims.md").stat().st_size / 1000)
    result["claims_page_lines"] = (out / "claims.md").read_text().count("\n")
    subjects = [f"people-s{person}" for person in range(PEOPLE)]
    result |= measured(
        "compare_models",
        *("--study", STUDY, "--factors", json.dumps(models), "--subjects", *subjects),
        *("--scores", str(folder / "scores"), "--rsa", str(folder / "rsa")),
        *("--output", str(out / "model_contrasts.csv"), "--pairs", str(out / "model_pairs.csv")),
        *("--table", str(out / "model_factors.csv")),
    )
    result["contrasts_kb"] = round((out / "model_contrasts.csv").stat().st_size / 1000)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[56, 224], help="how many")
    parser.add_argument("--folder", type=Path, help="keep results there; else a folder that goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (arguments.folder or Path(name)) / "results" / STUDY
        models = factors(max(arguments.models))
        seconds = [
            write_model(folder, str(model["model"]), seed) for seed, model in enumerate(models)
        ]
        found = [measure(folder, models[:count]) for count in sorted(arguments.models)]
    print(json.dumps({"statistics_of_a_model_cpu_s": round(np.median(seconds), 2), "of": found}))


if __name__ == "__main__":
    main()
