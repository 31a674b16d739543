"""What a user sees when the configuration or the data are wrong: one message, before any job."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

STUDY = "tests/workflow/tiny/study.yaml"


def refuse(checkout, *arguments):
    done = checkout.snakemake("--configfile", STUDY, *arguments, check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in text
    assert "Job stats" not in text
    assert not (checkout.folder / "results").exists()
    return text


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("n_folds: 3", "n_fold: 3", ["encoding.n_fold: unknown key", STUDY]),
        ("blocks.3", "blocks.33", ["models.tiny_b.layers", "'blocks.33'", "Allowed: blocks.0"]),
        (
            "name: tiny_b",
            "name: tiny_z",
            ["models: there is no model ", "'tiny_z'", "Did you mean"],
        ),
        (
            "- name: tiny_meg",
            "- {name: tiny_meg, subjects: [tiny_meg-s9]}",
            ["datasets.tiny_meg.subjects", "'tiny_meg-s9'", "tiny_meg-s1, tiny_meg-s2"],
        ),
        (
            "study: tiny",
            "study: tiny\nfigures: {names: [no_such]}",
            ["'no_such'", "encoding_by_region"],
        ),
        (
            "study: tiny",
            "study: tiny\nroots: {objects92: /no/such}",
            ["roots.objects92", "/no/such"],
        ),
    ],
)
def test_a_mistake_in_the_configuration_is_one_clear_message(checkout, old, new, parts):
    checkout.edit(STUDY, old, new)
    text = refuse(checkout)
    for part in parts:
        assert part in text, text


def test_a_configuration_without_a_study_is_not_merged_into_the_default(checkout):
    checkout.edit(STUDY, "study: tiny\n", "")
    assert "study: missing key" in refuse(checkout)


def test_a_root_of_nothing_is_refused_and_no_link_is_made(checkout):
    checkout.edit(STUDY, "study: tiny", "study: tiny\nroots: {object92: .}")
    assert "Did you mean 'objects92'" in refuse(checkout)
    assert not (checkout.folder / "data").exists()


def test_a_mistake_in_an_option_is_said_to_be_there_and_a_link_is_told_once(checkout):
    config = ("--dry-run", "--config", "roots={tiny_set: .}")
    assert "--config: roots: there is no data set" in refuse(checkout, *config)
    (checkout.folder / "mine").mkdir()
    config = ("--configfile", STUDY, "--dry-run", "--config", "roots={weights: mine}")
    told = f"data/weights -> {checkout.folder / 'mine'}"
    assert told in checkout.snakemake(*config).stderr
    assert told not in checkout.snakemake(*config).stderr


@pytest.mark.parametrize("target", ["claims", "figures", "report", "scores", "maps"])
def test_what_speaks_of_the_whole_study_is_not_made_from_a_part(checkout, target):
    arguments = [target, "--configfile", STUDY, "--config", "only_subjects=[tiny_meg-s1]"]
    done = checkout.snakemake(*arguments, "--dry-run", check=False)
    assert done.returncode != 0
    assert "only_subjects" in done.stdout + done.stderr
    assert "Leave out the key" in done.stdout + done.stderr


def test_a_missing_checkpoint_is_named_before_any_job(checkout):
    checkout.edit(
        "tests/workflow/tiny/models.yaml",
        "weights: {source: random, seed: 1}",
        "weights: {source: file, path: weights/mine.safetensors}",
    )
    text = refuse(checkout)
    assert "data/weights/mine.safetensors" in text
    assert "tiny_b" in text


def test_a_dry_run_imports_neither_torch_nor_timm(checkout):
    code = (
        "import sys, json, atexit\n"
        "from snakemake.cli import main\n"
        "atexit.register(lambda: open('modules.json', 'w').write(json.dumps(list(sys.modules))))\n"
        f"main(['--configfile', {STUDY!r}, '--dry-run', '--cores', '1', '--quiet'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout.folder, capture_output=True, text=True
    )
    modules = json.loads((checkout.folder / "modules.json").read_text())
    assert "gradbrain.plan.jobs" in modules, done.stderr
    assert not {"torch", "timm", "himalaya", "matplotlib"} & set(modules)


@pytest.mark.parametrize("environment", [{}, {"PATH": "/usr/bin:/bin"}], ids=["empty", "system"])
def test_it_runs_by_path_without_its_environment_being_active(checkout, environment):
    target = "results/stimuli/calibration.parquet"
    command = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--configfile", STUDY]
    home = {"HOME": str(checkout.folder)}
    done = subprocess.run(
        command, cwd=checkout.folder, env=environment | home, capture_output=True, text=True
    )
    assert (checkout.folder / target).exists(), done.stderr


def test_the_configfile_replaces_the_default_study(checkout):
    done = checkout.snakemake("--configfile", STUDY, "--dry-run")
    assert "simulated_fmri_paper_pattern" not in done.stdout + done.stderr
