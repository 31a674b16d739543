r"""How often claims about learning rules, with the controls of each, are judged as they should be.

Brains of six people hold, beside activations, one signal each: nothing, something without learning
content (a control, in other random directions than the analysis knows), or a learning rule. They
are drawn again and again, with other read-outs and noise, and put through the pipeline with several
rules and all their controls (`benchmarks/rule_claims`; fits, unique parts, statistics, claims: see
benchmarks/calibrate_claims.py, which does the same for the brains of config/worlds.yaml).

What is right was written down before any brain was looked at:

1. In a brain that holds nothing, no rule has a unique part: C1 and C2 of any rule are wrong where
   they are supported.
2. In a brain that holds something without learning content, C2 is wrong where it is supported. C1
   may be: it asks for a unique part and not for learning.
3. In a brain that holds a rule, C1 and C2 of that rule are right where they are supported. Of
   other rules the table says how often they are, and no word of right or wrong: what is not
   orthogonal to the rule that is there has a part of it.

    snakemake -c2 --configfile benchmarks/rule_claims/study.yaml -- features \
        results/rule_claims/responses/nothing-s1.zarr
    python benchmarks/calibrate_rule_claims.py run --out results/calibration/rule_claims --seeds 20
    python benchmarks/calibrate_rule_claims.py table --out results/calibration/rule_claims

Every finished seed of a brain is a file in the folder and is not run again; `keep` turns them into
one small file that travels (benchmarks/records/rule_claims is that of the docs). `table` writes its
tables between two marks of docs/learning_rules.md. What was planted makes data and is the head of a
table; no test reads it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "benchmarks")]

import pandas as pd
from calibrate_claims import (
    KEPT,
    KEPT_FILE,
    Brains,
    Design,
    Seen,
    check_settings,
    keep_claims,
    kept_seeds,
    share,
)

from gradbrain.store import write_text

CONFIG = "benchmarks/rule_claims/study.yaml"
DOCS = ROOT / "docs" / "learning_rules.md"
MARKS = ("<!-- rule-claims:start -->", "<!-- rule-claims:end -->")
COLUMNS = ("signal", *KEPT, "control")

# Brain -> rule that it holds, as the analysis calls it.
RULES: dict[str, str] = {
    "holds_gradient": "gradient_cross_entropy",
    "holds_difference_target": "difference_target",
    "holds_target_activity": "target_activity",
    "holds_predictive_coding": "predictive_coding_generative",
    "holds_three_factor": "three_factor_top_down",
}
NOTHING = "holds_nothing"
#: Brains that hold something without learning content.
WITHOUT_LEARNING = (
    "holds_activity_unit_length",
    "holds_fixed_cotangent",
    "holds_feedback_alignment",
)
SUPPORTED = "supported"


class OneBrain(Brains):
    """The people of one data set, whose claims are judged alone.

    Parameters
    ----------
    design
        Images, people and targets that are simulated.
    dataset
        Entry of the study's data sets.
    root
        Folder below which ``results/`` has features and stimuli.
    seen
        Stimulus set -> what follows from its images, kept here for other brains.
    """

    def __init__(self, design: Design, dataset: str, root: Path, seen: dict[str, Seen]) -> None:
        plan = design.plan(root)
        entry = plan.study.datasets[dataset]
        super().__init__(design, plan.adapter(entry)[1].world, root, seen=seen)
        self.entries = [self.plan.study.datasets[dataset]]


_BRAINS: dict[str, OneBrain] = {}
_SEEN: dict[str, Seen] = {}


def file_of(folder: Path, brain: str, seed: int) -> Path:
    """Claims of one seed of a brain."""
    return folder / f"{brain}-{seed:04d}.csv"


def run_seed(folder: Path, brain: str, seed: int, design: Design, root: Path) -> str:
    """Judge the claims of one seed of a brain and write them, in one step."""
    logging.getLogger("gradbrain").setLevel(logging.ERROR)
    if brain not in _BRAINS:
        _BRAINS[brain] = OneBrain(design, brain, root, _SEEN)
    start = time.process_time()
    claims = _BRAINS[brain].claims(seed)[list(COLUMNS)]
    seconds = round(time.process_time() - start, 2)
    path = file_of(folder, brain, seed)
    claims = claims.assign(seed=seed, cpu_s=seconds)
    write_text(path, claims.to_csv(index=False, float_format="%.6g"))
    return f"{path}: {seconds} s of processor"


def run(arguments: argparse.Namespace) -> None:
    """Run the seeds that the folder does not hold."""
    folder, root = arguments.out, arguments.root.resolve()
    design = Design(CONFIG)
    plan = design.plan(root)
    check_settings(folder, design, plan)
    brains = arguments.brains or list(plan.study.datasets)
    # Seed 0 is the study that `snakemake` would make. Brains take turns, so that a run that is cut
    # short has as many seeds of each.
    done = kept_seeds(folder, "dataset")
    wanted = [
        (brain, seed)
        for seed in range(1, arguments.seeds + 1)
        for brain in brains
        if (brain, seed) not in done and not file_of(folder, brain, seed).exists()
    ]
    print(f"{len(wanted)} of {arguments.seeds * len(brains)} seeds are to be run", file=sys.stderr)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        jobs = [pool.submit(run_seed, folder, *one, design, root) for one in wanted]
        for job in jobs:
            print(job.result(), file=sys.stderr, flush=True)


def read_seeds(folder: Path) -> pd.DataFrame:
    """Claims of all seeds that are there."""
    parts = [pd.read_csv(path) for path in sorted(folder.glob("*.csv"))]
    if (folder / KEPT_FILE).exists():
        parts.append(pd.read_parquet(folder / KEPT_FILE))
    if not parts:
        raise SystemExit(f"{folder}: holds no seed yet; run some first")
    return pd.concat(parts, ignore_index=True)


def keep(arguments: argparse.Namespace) -> None:
    """Turn all seeds of the folder into one file, and remove theirs."""
    order = ["dataset", "seed", "signal", "prediction", "variant"]
    keep_claims(arguments.out, read_seeds(arguments.out).sort_values(order))
    n_seeds = len(kept_seeds(arguments.out, "dataset"))
    print(f"{arguments.out / KEPT_FILE}: {n_seeds} seeds", file=sys.stderr)


def supported(claims: pd.DataFrame, brain: str, rule: str, prediction: str) -> tuple[int, int]:
    """How often a claim about a rule is supported in a brain, and of how many seeds."""
    rows = rows_of(claims, brain, prediction)
    rows = rows[rows["signal"] == rule]
    return int((rows["verdict"] == SUPPORTED).sum()), len(rows)


def rows_of(claims: pd.DataFrame, brain: str, prediction: str) -> pd.DataFrame:
    """Rows of a claim in a brain, of unique parts: those of held-out scores are descriptive."""
    return claims[
        (claims["dataset"] == brain)
        & (claims["prediction"] == prediction)
        & (claims["variant"] == "unique")
    ]


def verdict_table(claims: pd.DataFrame, prediction: str, rules: Sequence[str]) -> Iterator[str]:
    """How often a claim is supported, brain × rule; the rule that a brain holds in bold."""
    yield f"| brain | {' | '.join(f'`{rule}`' for rule in rules)} |"
    yield f"|---|{'---|' * len(rules)}"
    for brain in (NOTHING, *WITHOUT_LEARNING, *RULES):
        cells = []
        for rule in rules:
            hits, n = supported(claims, brain, rule, prediction)
            if not n:
                cells.append("–")
                continue
            text = share(hits, n)
            cells.append(f"**{text}**" if RULES.get(brain) == rule else text)
        yield f"| {brain.removeprefix('holds_').replace('_', ' ')} | {' | '.join(cells)} |"


def wrong_seeds(claims: pd.DataFrame, brain: str) -> tuple[int, int]:
    """Seeds of a brain without a rule in which any C2 is supported, and how many there are."""
    own = rows_of(claims, brain, "C2")
    found = (own["verdict"] == SUPPORTED).groupby(own["seed"]).any()
    return int(found.sum()), len(found)


def held_table(claims: pd.DataFrame) -> Iterator[str]:
    """What stands between C2 and the rule that a brain holds."""
    yield (
        "| brain | C1 | C2 | lower bound of C2, share of the explainable, median | control "
        "| reasons |"
    )
    yield "|---|---|---|---|---|---|"
    for brain, rule in RULES.items():
        own = rows_of(claims, brain, "C2")
        own = own[own["signal"] == rule]
        if own.empty:
            continue
        controls = ", ".join(
            f"`{name}` {count}" for name, count in own["control"].value_counts().items()
        )
        reasons = ", ".join(
            f"`{name}` {count}" for name, count in own["reason"].dropna().value_counts().items()
        )
        yield (
            f"| {brain.removeprefix('holds_').replace('_', ' ')} "
            f"| {share(*supported(claims, brain, rule, 'C1'))} "
            f"| {share(*supported(claims, brain, rule, 'C2'))} "
            f"| {own['lower_share'].median():.3f} "
            f"| {controls or '–'} | {reasons or '–'} |"
        )


def table(arguments: argparse.Namespace) -> None:
    """Write the tables between the marks of the documentation."""
    claims = read_seeds(arguments.out)
    rules = sorted(claims.loc[claims["prediction"] == "C2", "signal"].unique())
    seeds = claims.groupby("dataset")["seed"].nunique()
    seconds = claims.drop_duplicates(["dataset", "seed"])["cpu_s"].mean()
    wrong = ", ".join(
        f"{brain.removeprefix('holds_').replace('_', ' ')} {share(*wrong_seeds(claims, brain))}"
        for brain in (NOTHING, *WITHOUT_LEARNING)
        if (claims["dataset"] == brain).any()
    )
    parts = [
        f"{seeds.min()} to {seeds.max()} seeds of each brain, {seconds:.0f} s of processor each; "
        "shares of seeds with exact 95 % intervals, the rule that a brain holds in bold. C2 "
        "supported:",
        "\n".join(verdict_table(claims, "C2", rules)),
        f"C2 of any rule supported in brains without one: {wrong}.",
        "C1 supported:",
        "\n".join(verdict_table(claims, "C1", rules)),
        "C2 of the rule that is there:",
        "\n".join(held_table(claims)),
    ]
    page = DOCS.read_text()
    start, stop = (page.index(mark) for mark in MARKS)
    text = "\n\n".join(parts)
    page = page[: start + len(MARKS[0])] + "\n" + text + "\n" + page[stop:]
    write_text(DOCS, page)
    print(f"{DOCS}: {len(claims)} rows of {len(seeds)} brains", file=sys.stderr)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "keep", "table"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the seeds")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="folder whose results/ has features and stimuli"
    )
    parser.add_argument("--brains", nargs="+", help="some of the data sets; else all")
    parser.add_argument("--seeds", type=int, default=20, help="seeds of each brain")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    {"run": run, "keep": keep, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
