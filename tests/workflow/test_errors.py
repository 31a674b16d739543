"""What a user sees when the configuration or the data are wrong: one message, before any job."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

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


BIBTEX = "@article{raugel, title = {{A {b} c}}, year = {2026}}"


def test_braces_in_titles_labels_and_citations_are_text(checkout):
    checkout.edit(STUDY, "study: tiny", f'study: tiny\ntitle: "a {{b}} c, {BIBTEX}"')
    checkout.edit(STUDY, "unit: layer", "unit: model")
    checkout.edit(
        "tests/workflow/tiny/models.yaml",
        "    weights: {source: random, seed: 1}",
        f'    weights: {{source: random, seed: 1}}\n    label: "{{x}}"\n    citation: "{BIBTEX}"',
    )
    checkout.edit(
        "tests/workflow/tiny/datasets.yaml",
        "    expected: {n_images: 48, n_targets: 108, n_units: 9}",
        f'    expected: {{n_images: 48, n_targets: 108, n_units: 9}}\n    citation: "{BIBTEX}"',
    )
    checkout.run("--dry-run")
    checkout.run("results/tiny/config.yaml", "results/tiny/entries.csv")
    written = yaml.safe_load((checkout.folder / "results/tiny/config.yaml").read_text())
    assert written["title"] == f"a {{b}} c, {BIBTEX}"
    assert "{x}" in (checkout.folder / "results/tiny/entries.csv").read_text()


def test_models_whose_names_differ_in_punctuation_alone_run_side_by_side(checkout):
    models = "tests/workflow/tiny/models.yaml"
    entry = "{architecture: mobilenetv2_050, weights: {source: random, seed: 2}, input_size: 48}"
    checkout.append(models, f"  tiny-a: {entry}\n  tiny.a: {entry}\n")
    for name in ("tiny-a", "tiny.a"):
        checkout.edit(STUDY, "models:\n", f"models:\n  - {{name: {name}, layers: [blocks.1]}}\n")
    for unit in ("layer", "model"):
        text = (checkout.folder / STUDY).read_text()
        (checkout.folder / STUDY).write_text(
            text.replace("unit: layer", f"unit: {unit}").replace(
                "n_folds: 3", f"n_folds: 3\n  unit: {unit}"
            )
        )
        jobs = checkout.run("--dry-run")
        assert sum(n for name, n in jobs.items() if name.startswith("fit_encoding")) > 12 // 2
        (checkout.folder / STUDY).write_text(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("featurs",), "featurs: there is no such target. Did you mean 'features'?"),
        (("--until", "fit_encodin"), "Did you mean 'fit_encoding'?"),
        (("results/tiny/figures/claims_overvew.pdf",), "Did you mean 'claims_overview'?"),
        (("--configfile", STUDY), "--configfile is given 2 times"),
        (
            ("--config", "only_models=[tiny_a]", "--config", "rsa={seed: 1}"),
            "--config is given 2 times",
        ),
        (("--config", "roots={1: x}"), "--config: roots: there is no data set"),
        (("--config", "encoding={n_draws: 1000000000000000}"), "GiB at the least"),
    ],
)
def test_a_slip_on_the_command_line_is_told_before_any_job(checkout, arguments, message):
    assert message in refuse(checkout, "--dry-run", *arguments)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("encoding: {n_folds: 4}\n", "the key 'encoding' is there twice"),
        ("roots: {1: x}\n", "a key is 1 (int), expected a text; write it in quotes"),
    ],
)
def test_a_key_that_snakemake_would_take_is_told_with_its_line(checkout, lines, message):
    n_lines = len((checkout.folder / STUDY).read_text().splitlines())
    checkout.append(STUDY, lines)
    text = refuse(checkout, "--dry-run")
    assert f"{STUDY}, line {n_lines + 1}: {message}" in text


def test_a_checkpoint_of_another_network_is_told_before_any_job(checkout):
    checkout.edit(
        "tests/workflow/tiny/models.yaml",
        "weights: {source: random, seed: 1}",
        "weights: {source: file, path: weights/mine.safetensors}",
    )
    header = b'{"module.conv_stem.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (checkout.folder / "data/weights").mkdir(parents=True)
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    (checkout.folder / "data/weights/mine.safetensors").write_bytes(content)
    text = refuse(checkout, "--dry-run")
    assert "model 'tiny_b': data/weights/mine.safetensors does not fit mobilenetv2_050" in text
    assert "unexpected: module.conv_stem.weight" in text


def test_the_configfile_replaces_the_default_study(checkout):
    done = checkout.snakemake("--configfile", STUDY, "--dry-run")
    assert "simulated_fmri_paper_pattern" not in done.stdout + done.stderr
