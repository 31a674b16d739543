"""The plan at the size of the paper: every job is there, in time, and can be started."""

from __future__ import annotations

import json
import re
from pathlib import Path

import estimate_study
import pytest

from gradbrain.config.registries import read_yaml

ROOT = Path(__file__).resolve().parents[2]
PAPER = "tests/workflow/paper/study.yaml"
# Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN, execve(2)), and the shell
# gets a whole command as one. Names of one's own may be longer: half of it must do.
LONGEST = 64 * 1024


@pytest.fixture(scope="module")
def plan(fresh_checkout):
    """Dry run of the whole study: what it printed, and the jobs of each rule."""
    return fresh_checkout("paper").dry_run(PAPER, "--printshellcmds")


def estimated(capsys, config):
    estimate_study.main([str(config), "--json"])
    return {rule: row["jobs"] for rule, row in json.loads(capsys.readouterr().out)["rules"].items()}


def test_the_planned_study_has_the_shape_of_the_papers():
    paper, shape = (read_yaml(ROOT / name) for name in ("config/paper.yaml", PAPER))
    assert [entry["name"] for entry in paper["datasets"]] == ["nsd", "things_meg"]
    assert len(paper["models"]) == len(shape["models"]) == 8
    for entry in (*paper["models"], *shape["models"]):
        assert entry["layers"] == {"count": 22}
    for section in ("features", "encoding"):
        assert {key: paper[section][key] for key in shape[section]} == shape[section]


def test_the_plan_of_the_paper_holds_every_job(plan):
    jobs = plan[1]
    n_models, n_layers, n_subjects, n_stimuli = 8, 22, 8 + 4, 8 + 1
    assert jobs["fit_encoding"] == n_models * n_layers * n_subjects == 2112
    assert jobs["reduce_activations"] == n_models * n_subjects
    # Two planting layers stand in for what prepares real responses.
    assert jobs["extract_features"] == n_models * n_layers * n_stimuli + 2 * n_stimuli
    assert jobs["compute_rsa"] == n_models * n_subjects
    for rule in ("collect_scores", "collect_maps", "score_hierarchy"):
        assert jobs[rule] == n_models
    assert sum(jobs.values()) == 3964


def test_every_command_of_the_paper_is_short_enough_to_be_started(plan):
    commands = re.findall(r"^Shell command: (python .*)$", plan[0], re.MULTILINE)
    assert len(commands) == sum(plan[1].values())
    longest = max(commands, key=len)
    assert len(longest) < LONGEST, f"{len(longest)} bytes: {longest[:200]}"


@pytest.mark.parametrize("config", ["config/config.yaml", "tests/workflow/tiny/study.yaml"])
def test_the_estimate_counts_the_jobs_that_snakemake_plans(
    fresh_checkout, capsys, monkeypatch, config
):
    monkeypatch.chdir(ROOT)  # registries of a study are named from where Snakemake runs
    _, jobs = fresh_checkout("estimated").dry_run(config)
    fused = sum(count for rule, count in jobs.items() if rule.startswith("extract_features"))
    jobs = {rule: n for rule, n in jobs.items() if not rule.startswith("extract_features")}
    assert estimated(capsys, ROOT / config) == {**jobs, "extract_features": fused}


def test_the_estimate_counts_the_jobs_of_the_paper(plan, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert estimated(capsys, ROOT / PAPER) == plan[1]
