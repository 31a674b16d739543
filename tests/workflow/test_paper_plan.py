"""The plan at the size of the paper: every job is there, in time, and can be started."""

from __future__ import annotations

import json
import re
from pathlib import Path

import estimate_study
import pytest
from trees.nsd import write_nsd_tree
from trees.things import write_things_meg

from gradbrain.config.registries import read_yaml

ROOT = Path(__file__).resolve().parents[2]
PAPER = "tests/workflow/paper/study.yaml"
# Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN, execve(2)), and the shell
# gets a whole command as one. Commands name layers and subjects, and never every fit of a model.
LONGEST = 8 * 1024


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
    assert len(paper["models"]) == len(shape["models"]) == 9
    for *networks, last in (paper["models"], shape["models"]):
        assert all(entry["layers"] == {"count": 22} for entry in networks)
        assert last == {"name": "image_statistics"}
    for section in ("features", "encoding", "rsa"):
        assert {key: paper[section][key] for key in shape[section]} == shape[section]


def test_the_plan_of_the_paper_holds_every_job(plan):
    jobs = plan[1]
    n_networks, n_layers, n_subjects, n_stimuli = 8, 22, 8 + 4, 8 + 1
    n_levels, n_models = 4, n_networks + 1
    assert jobs["fit_encoding"] == (n_networks * n_layers + n_levels) * n_subjects == 2160
    assert jobs["reduce_activations"] == n_models * n_subjects
    # Image statistics have no signal but themselves.
    assert jobs["measure_unique"] == n_networks * n_subjects
    # Two planting layers stand in for what prepares real responses.
    assert jobs["extract_features"] == n_networks * n_layers * n_stimuli + 2 * n_stimuli
    # Views of each image, once for all layers of a model, the planting one among them.
    assert jobs["compute_objective_targets"] == (n_networks + 1) * n_stimuli
    assert jobs["image_statistics"] == n_stimuli
    assert jobs["compute_rsa"] == n_models * n_subjects
    for rule in ("collect_scores", "collect_maps", "score_hierarchy"):
        assert jobs[rule] == n_models
    # The people who saw images of their own are no ceiling of one another.
    assert jobs["compute_ceilings"] == 1
    assert jobs["measure_reliability"] == n_networks * n_stimuli
    # Second opinions: of the people who saw the same images one ceiling, and a figure.
    assert (jobs["compute_rdm_ceilings"], jobs["score_rdms"]) == (1, n_models)
    assert jobs["test_second_opinions"] == 1
    targets, measured = (n_networks + 1) * n_stimuli, n_networks * (n_stimuli + n_subjects)
    assert jobs["compare_models"] == 1
    # The comparison of models and its figure; the idea, parts of variance, claims by model.
    later = 2 + 3
    assert sum(jobs.values()) == 4051 + targets + measured + 1 + (1 + n_models + 1 + 1) + later


def commands_of(printed):
    return re.findall(r"^Shell command: (python .*)$", printed, re.MULTILINE)


def test_every_command_of_the_paper_is_short_enough_to_be_started(plan):
    commands = commands_of(plan[0])
    assert len(commands) == sum(plan[1].values())
    longest = max(commands, key=len)
    assert len(longest) < LONGEST, f"{len(longest)} bytes: {longest[:200]}"


def test_a_command_of_more_layers_grows_by_their_names_and_not_by_their_fits(plan, fresh_checkout):
    model = "resnet50_imagenet1k"
    entry = f"{{name: {model}, layers: {{count: 22}}}}"
    checkout = fresh_checkout("all_layers")
    checkout.edit(PAPER, entry, entry.replace("{count: 22}", "all"))
    targets = [f"results/paper_shape/maps/{model}.zarr"]
    targets += [f"results/paper_shape/{name}/{model}.parquet" for name in ("scores", "hierarchy")]
    printed, jobs = checkout.dry_run(PAPER, "--printshellcmds", *targets)
    assert jobs["fit_encoding"] == 48 * 12
    for script in ("collect_maps", "collect_scores", "score_hierarchy"):
        (few,) = (line for line in commands_of(plan[0]) if script in line and model in line)
        (all_layers,) = (line for line in commands_of(printed) if script in line)
        # 26 names more; their 312 fits would take 20 kB.
        assert 0 < len(all_layers) - len(few) < 26 * 20


def one_rule_for_all_models(jobs):
    """Jobs of each rule, a model's own rules (fused extraction, fits of all layers) as one."""
    counted: dict[str, int] = {}
    for rule, count in jobs.items():
        (name,) = [n for n in ("extract_features", "fit_encoding") if rule.startswith(n)] or [rule]
        counted[name] = counted.get(name, 0) + count
    return counted


@pytest.mark.parametrize("config", ["config/config.yaml", "tests/workflow/tiny/study.yaml"])
def test_the_estimate_counts_the_jobs_that_snakemake_plans(
    fresh_checkout, capsys, monkeypatch, config
):
    monkeypatch.chdir(ROOT)  # registries of a study are named from where Snakemake runs
    _, jobs = fresh_checkout("estimated").dry_run(config)
    assert estimated(capsys, ROOT / config) == one_rule_for_all_models(jobs)


def test_the_estimate_counts_the_jobs_of_the_paper(plan, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert estimated(capsys, ROOT / PAPER) == plan[1]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """Folders as the downloads lay them out, with every person and session and little in them."""
    folder = tmp_path_factory.mktemp("downloads")
    tree = write_nsd_tree(folder / "nsd", subjects=(1,), sessions=1, width=16)
    first = tree.session_file(1, 1, "lh").parent
    for subject in range(1, 9):
        betas = Path(str(first).replace("subj01", f"subj{subject:02d}"))
        betas.mkdir(parents=True, exist_ok=True)
        for hemisphere in ("lh", "rh"):
            for session in range(1, 41):
                link_to(first / f"{hemisphere}.betas_session01.mgh", betas, f"{session:02d}.mgh")
            link_to(first / f"{hemisphere}.ncsnr.mgh", betas, "")
    labels = folder / "nsd/nsddata/freesurfer/fsaverage/label"
    for streams in labels.glob("*streams*"):
        # A plan looks whether the labels are there, and does not read them.
        (labels / streams.name.replace("streams", "HCP_MMP1")).hardlink_to(streams)
    write_things_meg(folder / "things_meg", participants=(1, 2, 3, 4), sessions=2)
    return folder


def link_to(source, folder, ending):
    path = folder / (source.name.replace("01.mgh", ending) if ending else source.name)
    if not path.exists():
        path.hardlink_to(source)


def test_the_paper_is_planned_on_the_data_as_they_are_downloaded(
    fresh_checkout, downloads, capsys, monkeypatch
):
    roots = ", ".join(f"{name}: {downloads / name}" for name in ("nsd", "things_meg"))
    checkout = fresh_checkout("real_paper")
    _, jobs = checkout.dry_run("config/paper.yaml", "--config", f"roots={{{roots}}}")
    jobs = one_rule_for_all_models(jobs)
    assert jobs["prepare_responses"] == 12
    assert jobs["fit_encoding"] == 2160
    assert jobs["extract_features"] == 8 * 22 * 9
    assert jobs["compute_objective_targets"] == jobs["measure_reliability"] == 8 * 9
    assert jobs["measure_unique"] == 8 * 12
    # The last three: figures of the idea, of parts of variance, of claims by model.
    assert sum(jobs.values()) == 4033 + 2 * 72 + 8 * 12 + 1 + (1 + 9 + 1 + 1) + 3
    assert "compare_models" not in jobs
    monkeypatch.chdir(ROOT)
    assert estimated(capsys, ROOT / "config/paper.yaml") == jobs


def test_a_session_that_is_cut_short_stops_the_paper_before_any_job(fresh_checkout, downloads):
    cut = downloads / "nsd/nsddata_betas/ppdata/subj05/fsaverage/betas_fithrf_GLMdenoise_RR"
    cut /= "rh.betas_session17.mgh"
    whole = cut.read_bytes()
    cut.unlink()
    cut.write_bytes(whole[:-100])
    roots = ", ".join(f"{name}: {downloads / name}" for name in ("nsd", "things_meg"))
    done = fresh_checkout("cut_paper").snakemake(
        *("--configfile", "config/paper.yaml", "--dry-run", "--config", f"roots={{{roots}}}"),
        check=False,
    )
    assert done.returncode != 0
    assert "subj05/fsaverage/betas_fithrf_GLMdenoise_RR/rh.betas_session17.mgh" in done.stdout
