"""Time Snakemake on the plan of the paper: the dry run of all of it, and a run with nothing to do.

Dry run: the study tests/workflow/paper, eight models x 22 layers x 12 people, nothing made yet.
Nothing to do: four of its models (1,056 triples of model, layer and person), whose outputs all
stand. The jobs are not run, since the fits of a real study are weeks: every output is laid down as
a small real store or file, and `snakemake --touch` writes its own records of each job (code,
parameters, inputs and their checksums), as it does after a real one. The next run is the real
thing: Snakemake compares everything with its records, and must find nothing to do; so that this is
no empty promise, one module is changed at the end, and the jobs that follow must be planned.

The peer is the same graph as a bare Snakefile: the same jobs, outputs and edges, which its rules
look up in a file, without parameters, code inputs or checks of this project. The last line is JSON.

Hundreds of models: with `--registry` the models are those of a folder that scripts/add_models.py
wrote, as a study takes them by pattern, 22 layers of each, of eight people who saw the same images;
the dry run of all, and that of one by `only_models`:

    python scripts/add_models.py 'vit_*' 'resnet50.*' 'convnext_*' 'deit*' --registry my_registry
    python benchmarks/bench_dag.py --registry my_registry --models 224 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np
import xarray as xr

from gradbrain.config.definition import feature_definition
from gradbrain.config.registries import read_yaml
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan
from gradbrain.store import write_store
from gradbrain.vocabulary.artefacts import ARTEFACTS

CODE = ("Snakefile", "workflow", "scripts", "config", "profiles", "envs", "tests/workflow/paper")
STUDY = "tests/workflow/paper/study.yaml"
# Snakemake waits .1 s per touched job, for the sake of clocks that tick slowly.
SNAKEMAKE = (
    "import sys, snakemake.executors.touch as touch; touch.Executor.SLEEPING_TIME = 0.0; "
    "from snakemake.cli import main; main()"
)


@dataclass(frozen=True)
class Run:
    """What a run printed, its wall and processor time in seconds, and its memory in GiB."""

    text: str
    wall: float
    cpu: float
    memory: float


def snakemake(folder: Path, *arguments: str) -> Run:
    """Run Snakemake in a folder."""
    command = [sys.executable, "-c", SNAKEMAKE, "--cores", "1", "--nocolor", *arguments]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        # Of this child alone: other counters are of all that ran before.
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{text[-3000:]}")
    return Run(text, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)


def fastest(runs: list[Run], name: str) -> dict[str, float]:
    """Wall and processor seconds of the fastest run, by the name of what was run."""
    return {
        f"{name}_s": round(min(run.wall for run in runs), 2),
        f"{name}_cpu_s": round(min(run.cpu for run in runs), 2),
        f"{name}_gib": round(max(run.memory for run in runs), 2),
    }


def copy_checkout(folder: Path) -> None:
    """Copy what a study needs, so that nothing of this checkout's results is in the way."""
    for name in CODE:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def n_jobs(text: str) -> int:
    """Read the number of jobs from the table that Snakemake prints."""
    found = re.search(r"^total\s+(\d+)$", text, re.MULTILINE)
    return int(found.group(1)) if found else 0


@dataclass(frozen=True)
class Tree:
    """Lays down the outputs of a study, as small as they may be."""

    folder: Path
    plan: Plan

    def lay_down(self, paths: list[str]) -> None:
        """Make every output: folders as stores, the rest as files of a few kB."""
        templates = self.folder / "templates"
        content = np.random.default_rng(0).bytes(16_000)
        for path in paths:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".zarr"):
                shutil.copytree(self._template(templates, path), target)
            else:
                target.write_bytes(path.encode() + content)
        shutil.rmtree(templates)

    def _template(self, templates: Path, path: str) -> Path:
        """Return a store of the kind that stands at a path."""
        kind, keys = kind_and_keys(path)
        attrs, name = {}, kind
        if kind == "features":
            name = f"{keys['model']}-{keys['signal_set']}"
            entry = self.plan.model_entry(keys["model"])
            signals = self.plan.taken_set(keys["model"], keys["signal_set"])
            attrs = {"definition": feature_definition(entry, signals, self.plan.plugins)}
        template = templates / f"{name}.zarr"
        if not template.exists():
            arrays = {
                variable.name: (variable.dims, np.ones([2] * len(variable.dims), np.float32))
                for variable in ARTEFACTS[kind].variables
                if "<" not in variable.name and not variable.optional
            }
            values = xr.Dataset(arrays, attrs=attrs)
            write_store(template, values, kind=kind)
        return template


def kind_and_keys(path: str) -> tuple[str, dict[str, str]]:
    """Kind of a store, and what its path is made from."""
    for item in ARTEFACTS.values():
        with suppress(ValueError):
            return item.kind, item.keys_of(path)
    raise RuntimeError(f"{path}: no kind of result has such a path")


def write_peer(folder: Path, plan: Plan) -> None:
    """Write the same graph as a bare Snakefile: its edges in a file, rules that look them up.

    A rule for each list of inputs needs no function, but Snakemake takes longer over thousands of
    rules than over functions: with 224 models that took 2.7 times as long as this.
    """
    edges: dict[str, list[str]] = {}
    targets: list[str] = []
    entries = plan.study.subjects
    for dataset, path in zip(plan.shared_datasets, plan.ceilings, strict=True):
        edges[path] = plan.responses_of(dataset)
    for model in plan.models:
        for subject in plan.subjects:
            stimuli = entries[subject].stimuli_of(subject)
            features = plan.features_of_model(model, stimuli)
            edges[f"{model} {subject}"] = [*features, f"{plan.results}/responses/{subject}.zarr"]
        fits = [p for kind in ("encoding", "fit_scores") for p in plan.encoding(model, kind=kind)]
        edges[model] = fits
        targets += [f"{plan.results}/scores/{model}.parquet", f"{plan.results}/maps/{model}.zarr"]
        targets += [f"{plan.results}/hierarchy/{model}.parquet", *fits, *plan.rsa(model)]
    one = plan.models[0]
    store = plan.features(one, "{layer}", plan.set_of(one), "{stimuli}")
    store = store.replace(f"/{one}/", "/{model}/")
    fit = f"{plan.results}/encoding/{{model}}/{{layer}}/{{subject}}"
    ceilings = f"{Path(plan.ceilings[0]).parent}/{{dataset}}.parquet"
    of_dataset = ceilings.replace("{dataset}", "{wildcards.dataset}")
    (folder / "edges.json").write_text(json.dumps(edges | {"": targets}))
    (folder / "Snakefile").write_text(
        f"""\
import json
EDGES = json.load(open("edges.json"))
rule all:
    input: EDGES[""]
rule stimuli:
    output: "results/stimuli/{{stimuli}}.parquet"
    shell: "touch {{output}}"
rule responses:
    output: directory("{plan.results}/responses/{{subject}}.zarr")
    shell: "touch {{output}}"
rule ceilings:
    input: lambda wildcards: EDGES[f"{of_dataset}"]
    output: "{ceilings}"
    shell: "touch {{output}}"
rule extract:
    input: "results/stimuli/{{stimuli}}.parquet"
    output: directory("{store}")
    shell: "touch {{output}}"
rule fit:
    input: lambda wildcards: EDGES[f"{{wildcards.model}} {{wildcards.subject}}"]
    output: directory("{fit}.zarr"), "{fit}.parquet"
    shell: "touch {{output}}"
rule rsa:
    input: lambda wildcards: EDGES[f"{{wildcards.model}} {{wildcards.subject}}"]
    output: "{plan.results}/rsa/{{model}}/{{subject}}.parquet"
    shell: "touch {{output}}"
rule scores:
    input: lambda wildcards: EDGES[wildcards.model], {plan.ceilings!r}
    output: "{plan.results}/scores/{{model}}.parquet"
    shell: "touch {{output}}"
rule maps:
    input: lambda wildcards: EDGES[wildcards.model]
    output: directory("{plan.results}/maps/{{model}}.zarr")
    shell: "touch {{output}}"
rule hierarchy:
    input: lambda wildcards: EDGES[wildcards.model]
    output: "{plan.results}/hierarchy/{{model}}.parquet"
    shell: "touch {{output}}"
"""
    )


def finish(folder: Path, arguments: list[str], lay_down: Callable[[list[str]], None]) -> None:
    """Make Snakemake believe that everything was run."""
    # Benchmark files are no outputs, but touching a job waits for them.
    for rules in folder.glob("workflow/rules/*.smk"):
        rules.write_text(re.sub(r" +benchmark:\n.*\n", "", rules.read_text()))
    summary = snakemake(folder, "--summary", *arguments).text.splitlines()
    header = next(number for number, line in enumerate(summary) if line.startswith("output_file"))
    lay_down([line.split("\t")[0] for line in summary[header + 1 :] if "\t" in line])
    snakemake(folder, "--touch", "--latency-wait", "0", "--quiet", *arguments)


def nothing_to_do(folder: Path, arguments: list[str], rounds: int) -> list[Run]:
    """Run a finished study, which must find nothing to do."""
    runs = [snakemake(folder, *arguments) for _ in range(rounds)]
    for run in runs:
        if "Nothing to be done" not in run.text:
            raise RuntimeError(f"the study is not finished:\n{run.text[-3000:]}")
    return runs


def check_that_changes_are_seen(folder: Path, triples: int) -> None:
    """Change a module of the encoding: every fit must be planned again."""
    with (folder / "workflow/gradbrain/encoding/splits.py").open("a") as module:
        module.write("\nCHANGED = True\n")
    changed = snakemake(folder, "--dry-run", "--configfile", STUDY).text
    refits = re.search(r"^fit_encoding\s+(\d+)$", changed, re.MULTILINE)
    if refits is None or int(refits.group(1)) != triples:
        raise RuntimeError(f"a changed module must rerun every fit:\n{changed[-3000:]}")


def measure(folder: Path, peer: Path, *, rounds: int, models: int) -> dict[str, float]:
    """Time both graphs: planned from nothing, and finished."""
    ours = ["--configfile", STUDY]
    config = read_yaml(folder / STUDY)
    write_peer(peer, Plan(load_study(config, root=ROOT, where=STUDY), ROOT))
    dry = [snakemake(folder, "--dry-run", *ours) for _ in range(rounds)]
    bare = [snakemake(peer, "--dry-run") for _ in range(rounds)]
    result = {"jobs": n_jobs(dry[0].text), **fastest(dry, "dry_run")}
    result |= {"peer_jobs": n_jobs(bare[0].text), **fastest(bare, "peer_dry_run")}
    print(json.dumps(result), flush=True)

    config["models"] = config["models"][:models]
    (folder / STUDY).write_text(json.dumps(config))  # JSON is YAML
    plan = Plan(load_study(config, root=ROOT, where=STUDY), ROOT)
    triples = sum(map(len, plan.study.layers.values())) * len(plan.subjects)
    finish(folder, ours, Tree(folder, plan).lay_down)
    result |= {"triples": triples, **fastest(nothing_to_do(folder, ours, rounds), "noop")}
    print(json.dumps(result), flush=True)
    write_peer(peer, plan)
    finish(peer, [], Tree(peer, plan).lay_down)
    result |= fastest(nothing_to_do(peer, [], rounds), "peer_noop")
    check_that_changes_are_seen(folder, triples)
    for kind in ("dry_run", "noop"):
        ratio = result[f"{kind}_cpu_s"] / result[f"peer_{kind}_cpu_s"]
        result[f"{kind}_cpu_over_peer"] = round(ratio, 2)
    return result


SHARED_IMAGES = """\
datasets:
  standin_shared:
    adapter: simulated
    modality: fmri
    subjects: [all-s1, all-s2, all-s3, all-s4, all-s5, all-s6, all-s7, all-s8]
    stimuli: shared_images
    expected: {n_images: 1000, n_targets: 40000, n_units: 20}
    options:
      world: feedforward
      planting_model: planting_mobilenetv2_050
      planting_signal_set: planted
      planting_layers: [blocks.1, blocks.5]
"""


def write_hundreds(folder: Path, registry: Path, n_models: int) -> None:
    """Write a study of the first models of a registry, spread over it, by name of a list."""
    target = folder / "hundreds"
    shutil.copytree(registry, target)
    (target / "datasets.yaml").write_text(SHARED_IMAGES)
    names = list(read_yaml(target / "models.yaml")["models"])
    if len(names) < n_models:
        raise RuntimeError(f"{registry}/models.yaml has {len(names)} models, expected {n_models}")
    chosen = [names[place * len(names) // n_models] for place in range(n_models)]
    left_out = sorted(set(names) - set(chosen))
    study = {
        "study": "hundreds",
        "registries": ["hundreds"],
        "datasets": [{"name": "standin_shared"}],
        "models": [{"pattern": "*.*", "leave_out": left_out, "layers": {"count": 22}}],
        "features": {"signal_set": "demo"},
    }
    (folder / "hundreds.yaml").write_text(json.dumps(study))  # JSON is YAML


def measure_hundreds(folder: Path, peer: Path, rounds: int) -> dict[str, float]:
    """Time the dry run of hundreds of models, of one of them, and of the same bare graph."""
    ours = ["--dry-run", "--configfile", "hundreds.yaml"]
    os.chdir(folder)
    config = read_yaml(folder / "hundreds.yaml")
    plan = Plan(load_study(config, root=folder, where="hundreds.yaml"), folder)
    write_peer(peer, plan)
    one = [
        snakemake(folder, *ours, "--config", f"only_models=[{plan.models[0]}]")
        for _ in range(rounds)
    ]
    result = {"models": len(plan.models), "one_model_jobs": n_jobs(one[0].text)}
    result |= fastest(one, "one_model")
    print(json.dumps(result), flush=True)
    runs = [snakemake(folder, *ours) for _ in range(rounds)]
    result |= {"jobs": n_jobs(runs[0].text), **fastest(runs, "dry_run")}
    print(json.dumps(result), flush=True)
    bare = [snakemake(peer, "--dry-run") for _ in range(rounds)]
    result |= {"peer_jobs": n_jobs(bare[0].text), **fastest(bare, "peer_dry_run")}
    per_job = result["dry_run_cpu_s"] / result["jobs"]
    ratio = per_job * result["peer_jobs"] / result["peer_dry_run_cpu_s"]
    return result | {
        "dry_run_cpu_over_peer": round(result["dry_run_cpu_s"] / result["peer_dry_run_cpu_s"], 2),
        "per_job_cpu_over_peer": round(ratio, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, help="folder of scripts/add_models.py")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each; the fastest counts")
    parser.add_argument(
        "--models",
        type=int,
        default=4,
        help="models of the finished study, or of those of the registry",
    )
    arguments = parser.parse_args()
    registry = arguments.registry and arguments.registry.resolve()
    os.chdir(ROOT)  # registries of a study are named from where Snakemake runs
    with tempfile.TemporaryDirectory() as name:
        folder, peer = Path(name) / "study", Path(name) / "peer"
        copy_checkout(folder)
        peer.mkdir()
        if arguments.registry:
            write_hundreds(folder, registry, arguments.models)
            print(json.dumps(measure_hundreds(folder, peer, arguments.rounds)))
            os.chdir(ROOT)
            return
        result = measure(folder, peer, rounds=arguments.rounds, models=arguments.models)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
