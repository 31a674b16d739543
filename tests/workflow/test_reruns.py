"""What is run again after which change, counted on real Snakemake runs."""

from __future__ import annotations

import shutil
import subprocess
import sys

from trees.snakemake_report import SnakemakeReport

from gradbrain.store import read_table
from gradbrain.vocabulary.artefacts import ARTEFACTS

FIGURE = "encoding_by_region"
STUDY = "tests/workflow/tiny/study.yaml"
#: Figures drawn from claims: claims_overview, claims_by_model, idea, signal_reliability and
#: unique_share.
OF_CLAIMS = 5
# 3 stimulus sets (one of each fMRI subject, one shared), and the calibration images; 2 planting
# layers and 3 analysed layers for each stimulus set; 3 layers for each of 4 subjects.
FRESH = {
    "prepare_stimuli": 4,
    # Views for each model over each stimulus set; what brains are planted from looks at none.
    "compute_objective_targets": 2 * 3,
    "extract_features": 3 * (2 + 3),
    # Each model over each stimulus set.
    "measure_reliability": 2 * 3,
    "prepare_responses": 4,
    "fit_encoding": 3 * 4,
    # Each model for each subject.
    "measure_unique": 2 * 4,
    # Of the two data sets one is of subjects who share images and targets.
    "compute_ceilings": 1,
    "compute_rsa": 2 * 4,
    "collect_scores": 2,
    "collect_maps": 2,
    "score_hierarchy": 2,
    "test_claims": 1,
    "write_config": 1,
    "write_entries": 1,
    "write_report": 1,
}


def without_figures(jobs):
    return {name: count for name, count in jobs.items() if name != "plot_figure"}


def test_a_fresh_run_makes_every_result(first_run):
    checkout, jobs = first_run
    assert without_figures(jobs) == FRESH
    results = checkout.folder / "results" / "tiny"
    ceilings = read_table(results / "ceilings" / "tiny_meg.parquet")
    assert set(ceilings["subject"]) == {"tiny_meg-s1", "tiny_meg-s2"}
    scores = read_table(results / "scores" / "tiny_a.parquet")
    assert set(scores.loc[scores["intersubject_r"].notna(), "dataset"]) == {"tiny_meg"}
    figures = {file.stem for file in (results / "figures").glob("*.pdf")}
    assert len(figures) == jobs["plot_figure"] >= 6
    for name in figures:
        for suffix in ("pdf", "png", "csv"):
            assert (results / "figures" / f"{name}.{suffix}").stat().st_size > 0
    assert (results / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.run() == {}


def test_touched_files_and_comments_in_other_stages_rerun_nothing(finished):
    (finished.folder / "scripts" / "fit_encoding.py").touch()
    (finished.folder / "workflow" / "gradbrain" / "encoding" / "solver.py").touch()
    assert finished.planned() == {}


def test_modules_that_bring_files_or_report_progress_rerun_nothing(finished):
    for module in ("datasets/fetch", "datasets/inventory", "signals/progress"):
        finished.append(f"workflow/gradbrain/{module}.py", "\nCHANGED = True\n")
    finished.append("workflow/gradbrain/encoding/himalaya_reference.py", "\nCHANGED = True\n")
    assert finished.planned() == {}


def test_a_registry_that_a_study_adds_reruns_nothing(finished):
    (finished.folder / "mine").mkdir()
    (finished.folder / "mine" / "datasets.yaml").write_text("datasets: {}\n")
    finished.edit(STUDY, "registries: [", "registries: [mine, ")
    # The resolved config names its registries, and the report shows it; no stimuli, no fits.
    assert set(finished.planned()) <= {"write_config", "write_report"}


def results_of_others(checkout, *patterns):
    """Content and times of what must not be touched."""
    return {key: value for pattern in patterns for key, value in checkout.contents(pattern).items()}


WHOLE_STUDY = ("tiny/claims.*", "tiny/report.html", "tiny/figures/*", "tiny/responses/**/*")


def test_one_model_is_fitted_again_by_force_and_a_file_as_target(finished):
    others = ("tiny/encoding/tiny_a/**/*", "tiny/scores/tiny_a*", *WHOLE_STUDY, "features/**/*")
    before = results_of_others(finished, *others)
    target = "results/tiny/hierarchy/tiny_b.parquet"
    jobs = finished.run("--forcerun", "fit_encoding", "--", target)
    assert jobs == {"fit_encoding": 4, "score_hierarchy": 1}
    assert before == results_of_others(finished, *others)
    # The rest of the model follows, and what joins the models; other models do not. The claims are
    # there for the reliability that scores come with: the new hierarchy is the old one.
    jobs = {"collect_scores": 1, "collect_maps": 1, "test_claims": 1, "write_report": 1}
    assert without_figures(finished.planned()) == jobs


def test_one_layer_is_fitted_again_alone(finished):
    others = ("tiny/encoding/tiny_a/blocks.1/**/*", "tiny/encoding/tiny_b/**/*", *WHOLE_STUDY)
    before = results_of_others(finished, *others)
    subset = ["--config", "only_models=[tiny_a]", "only_layers=[blocks.5]"]
    jobs = finished.run(*subset, "--forcerun", "fit_encoding")
    assert jobs == {"fit_encoding": 4}
    assert before == results_of_others(finished, *others)


def test_one_subject_is_fitted_again_alone(finished):
    others = (*(f"tiny/encoding/*/*/tiny_{name}*/**/*" for name in ("fmri-s2", "meg")),)
    before = results_of_others(finished, *others, *WHOLE_STUDY)
    assert before
    jobs = finished.run("--config", "only_subjects=[tiny_fmri-s1]", "--forcerun", "fit_encoding")
    assert jobs == {"fit_encoding": 3}
    assert before == results_of_others(finished, *others, *WHOLE_STUDY)


def test_an_added_subject_leaves_the_others_as_they_are(finished):
    subjects = "subjects: [tiny_fmri-s1, tiny_fmri-s2"
    finished.edit("tests/workflow/tiny/datasets.yaml", subjects, f"{subjects}, tiny_fmri-s3")
    jobs = finished.planned()
    alone = {"prepare_stimuli": 1, "prepare_responses": 1, "extract_features": 5,
             "compute_objective_targets": 2}  # fmt: skip
    assert alone.items() <= jobs.items()
    assert (jobs["fit_encoding"], jobs["compute_rsa"]) == (3, 2)
    # Images of its own make it no ceiling of anybody.
    assert "compute_ceilings" not in jobs


def test_an_added_subject_who_shares_images_is_part_of_the_ceilings_of_the_others(finished):
    subjects = "subjects: [tiny_meg-s1, tiny_meg-s2"
    finished.edit("tests/workflow/tiny/datasets.yaml", subjects, f"{subjects}, tiny_meg-s3")
    jobs = finished.planned()
    assert (jobs["prepare_responses"], jobs["compute_ceilings"]) == (3, 1)
    # The table of shared images names all who saw them, so that what follows from it is planned.
    assert (jobs["fit_encoding"], jobs["compute_rsa"]) == (9, 6)


def test_what_is_said_of_a_data_set_reruns_nothing(finished):
    entry = "    subjects: [tiny_fmri-s1, tiny_fmri-s2]\n"
    said = "    licence: CC0\n    citation: Somebody 2026\n"
    finished.edit("tests/workflow/tiny/datasets.yaml", entry, entry + said)
    assert finished.planned() == {}


def test_changed_regions_of_a_data_set_leave_images_and_features_as_they_are(finished):
    finished.edit("tests/workflow/tiny/datasets.yaml", "[V1, V2, V3, LO]", "[V1, V2, LO]")
    jobs = finished.planned()
    assert (jobs["prepare_responses"], jobs["fit_encoding"], jobs["compute_rsa"]) == (2, 6, 4)
    assert not {"prepare_stimuli", "extract_features"} & set(jobs)


def test_changed_images_of_a_data_set_rerun_all_that_follows(finished):
    datasets = "tests/workflow/tiny/datasets.yaml"
    finished.edit(
        datasets,
        "vertices_per_region: 4\n      images: {n_images: 48",
        "vertices_per_region: 4\n      images: {n_images: 50",
    )
    jobs = finished.planned()
    assert (jobs["prepare_stimuli"], jobs["extract_features"], jobs["fit_encoding"]) == (2, 10, 6)
    # A default that is written out is no change.
    finished.edit(datasets, "{n_images: 50, size: 48}", "{n_images: 48, size: 48, seed: 0}")
    assert finished.planned() == {}


def test_ceilings_follow_the_folds_of_the_fits(finished):
    finished.edit(STUDY, "n_folds: 3", "n_folds: 4")
    jobs = finished.planned()
    assert (jobs["fit_encoding"], jobs["compute_ceilings"]) == (12, 1)
    assert not {"prepare_stimuli", "prepare_responses"} & set(jobs)


def test_an_added_layer_refits_its_model_since_all_layers_are_in_every_baseline(finished):
    finished.edit(
        "tests/workflow/tiny/study.yaml", "layers: [blocks.3]", "layers: [blocks.3, blocks.6]"
    )
    jobs = finished.planned()
    assert (jobs["extract_features"], jobs["fit_encoding"], jobs["compute_rsa"]) == (3, 8, 4)
    # The views that it is compared with were passed for the others.
    assert "compute_objective_targets" not in jobs
    assert (jobs["collect_scores"], jobs["collect_maps"], jobs["score_hierarchy"]) == (1, 1, 1)


def test_one_model_whose_result_is_removed_is_run_again_alone(finished):
    before = finished.contents("tiny/encoding/tiny_a/**/*")
    shutil.rmtree(finished.folder / "results" / "tiny" / "encoding" / "tiny_b")
    jobs = finished.run()
    assert jobs["fit_encoding"] == 4
    assert "extract_features" not in jobs
    assert before == finished.contents("tiny/encoding/tiny_a/**/*")


def test_a_changed_style_redraws_the_figures_alone(finished):
    style = "workflow/gradbrain/figures/gradbrain.mplstyle"
    finished.append(style, "\nlines.linewidth: 1.7\n")
    n_figures = len(list((finished.folder / "results/tiny/figures").glob("*.pdf")))
    assert finished.planned() == {"plot_figure": n_figures, "write_report": 1}
    assert finished.run(f"results/tiny/figures/{FIGURE}.pdf") == {"plot_figure": 1}
    assert finished.planned() == {"plot_figure": n_figures - 1, "write_report": 1}


def test_a_changed_plotting_module_redraws_its_figure_and_the_report_alone(finished):
    finished.append(f"workflow/gradbrain/figures/{FIGURE}.py", "\nCHANGED = True\n")
    assert finished.run() == {"plot_figure": 1, "write_report": 1}


def test_a_renamed_column_of_the_claims_reruns_claims_and_what_reads_them_alone(finished):
    declarations = "workflow/gradbrain/vocabulary/artefacts.py"
    claims = 'template="results/{study}/claims.csv",\n        rule="test_claims",\n        version='
    version = ARTEFACTS["claims"].version
    finished.edit(declarations, f"{claims}{version}", f"{claims}{version + 1}")
    finished.edit(declarations, 'Column("estimate", ', 'Column("effect", ')
    assert finished.planned() == {"test_claims": 1, "plot_figure": OF_CLAIMS, "write_report": 1}


def test_a_changed_threshold_of_reliability_judges_again_and_measures_nothing(finished):
    finished.append(STUDY, "reliability: {threshold: 0.2}\n")
    assert finished.planned() == {
        "write_config": 1, "test_claims": 1, "plot_figure": OF_CLAIMS, "write_report": 1
    }  # fmt: skip


def test_reliability_is_measured_again_without_extraction_or_fits(finished):
    for change in (
        lambda: finished.append(STUDY, "reliability: {n_images: 20}\n"),
        lambda: finished.append("workflow/gradbrain/signals/reliability.py", "\nCHANGED = True\n"),
    ):
        change()
        jobs = finished.planned()
        assert (jobs["measure_reliability"], jobs["collect_scores"]) == (6, 2)
        unchanged = {"compute_objective_targets", "extract_features", "fit_encoding"}
        assert not {*unchanged, "compute_rsa", "score_hierarchy"} & set(jobs)


def test_a_raised_version_of_one_kind_reruns_its_rule_and_what_follows(finished):
    declarations = "workflow/gradbrain/vocabulary/artefacts.py"
    maps = 'rule="collect_maps",\n        version='
    version = ARTEFACTS["maps"].version
    finished.edit(declarations, f"{maps}{version}", f"{maps}{version + 1}")
    jobs = finished.planned()
    assert jobs.pop("collect_maps") == 2
    assert set(jobs) == {"plot_figure", "write_report"}


def test_a_changed_label_or_colour_redraws_and_refits_nothing(finished):
    n_figures = len(list((finished.folder / "results/tiny/figures").glob("*.pdf")))
    redrawn = {"write_entries": 1, "plot_figure": n_figures, "write_report": 1}
    finished.edit("config/signals.yaml", "label: gradient (DINO)", "label: the gradient")
    assert finished.planned() == redrawn
    finished.edit("config/signals.yaml", "label: the gradient", "label: gradient (DINO)")
    finished.edit("config/signals.yaml", 'colour: "#D55E00"', 'colour: "#123456"')
    assert finished.planned() == redrawn
    finished.edit("config/signals.yaml", 'colour: "#123456"', 'colour: "#D55E00"')
    finished.append("tests/workflow/tiny/models.yaml", "    label: a small network\n")
    finished.edit("config/modalities.yaml", "label: MEG", "label: magnetoencephalography")
    assert finished.planned() == redrawn


def test_who_controls_whom_is_a_matter_of_the_hierarchy_and_of_no_fit(finished):
    fixed = "objective: fixed_cotangent\n    control_of: *without_error"
    finished.edit("config/signals.yaml", fixed, fixed.replace("*without_error", "[gradient_dino]"))
    jobs = finished.planned()
    assert (jobs["score_hierarchy"], jobs["test_claims"]) == (2, 1)
    assert not {"extract_features", "fit_encoding", "compute_rsa", "collect_scores"} & set(jobs)


def test_an_added_module_reruns_nothing(finished):
    (finished.folder / "workflow/gradbrain/objectives/my_objective.py").write_text("X = 1\n")
    (finished.folder / "workflow/gradbrain/encoding/my_scores.py").write_text("X = 1\n")
    assert finished.planned() == {}


def test_a_changed_objective_reruns_extraction_and_what_follows(finished):
    finished.append("workflow/gradbrain/objectives/dino.py", "\nCHANGED = True\n")
    jobs = finished.planned()
    # The planted activations use no objective, so they and the responses stay.
    assert jobs["compute_objective_targets"] == 6
    assert jobs["extract_features"] == 9
    assert jobs["measure_reliability"] == 6
    assert jobs["fit_encoding"] == 12
    assert "prepare_stimuli" not in jobs
    assert "prepare_responses" not in jobs


def test_a_changed_extraction_module_reruns_extraction_and_what_follows(finished):
    finished.append("workflow/gradbrain/signals/pooling.py", "\nCHANGED = True\n")
    jobs = finished.planned()
    assert jobs["extract_features"] == 15
    assert jobs["fit_encoding"] == 12
    assert not {"prepare_stimuli", "compute_objective_targets"} & set(jobs)


def test_a_changed_encoding_setting_leaves_extraction_untouched(finished):
    before = finished.contents("features/**/*")
    finished.edit("tests/workflow/tiny/study.yaml", "n_penalties: 4", "n_penalties: 5")
    jobs = finished.planned()
    assert jobs["fit_encoding"] == 12
    for rule in ("extract_features", "prepare_responses", "compute_rsa", "compute_ceilings"):
        assert rule not in jobs
    jobs = finished.run("--config", "only_models=[tiny_b]")
    assert jobs == {
        "fit_encoding": 4, "collect_scores": 1, "collect_maps": 1, "score_hierarchy": 1
    }  # fmt: skip
    assert before == finished.contents("features/**/*")


def test_second_opinions_take_new_fits_and_leave_features_and_their_rsa_untouched(finished):
    finished.edit(STUDY, "rsa:\n  n_draws: 10", "rsa:\n  n_draws: 10\n  encoding: true")
    jobs = finished.planned()
    assert jobs["fit_encoding"] == 12
    added = ("compute_rdm_ceilings", "score_rdms", "test_second_opinions")
    # Of the two data sets one is of subjects who saw the same images.
    assert [jobs[rule] for rule in added] == [1, 2, 1]
    for rule in ("extract_features", "prepare_responses", "compute_rsa", "compute_ceilings"):
        assert rule not in jobs
    targets = [f"results/tiny/{kind}/tiny_b.parquet" for kind in ("prediction_rsa", "scores")]
    jobs = finished.run("--", *targets)
    assert jobs == {
        "compute_rdm_ceilings": 1, "fit_encoding": 4, "score_rdms": 1, "collect_scores": 1
    }  # fmt: skip
    scores = read_table(finished.folder / targets[0], kind="prediction_rsa")
    assert set(scores.loc[scores["ceiling_low"].notna(), "dataset"]) == {"tiny_meg"}
    assert set(scores["measure"]) == {"rdm_r", "full_rdm_r", "unique_rdm_r"}
    # The number of permutations is one of similarities of features alone.
    finished.edit(STUDY, "rsa:\n  n_draws: 10", "rsa:\n  n_draws: 11")
    assert finished.planned("--", *targets) == {}


def test_an_upgraded_package_reruns_nothing_by_itself(finished):
    for lock in ("envs/requirements.txt", "envs/packages.txt", "envs/environment.yaml"):
        finished.append(lock, "\n# upgraded\n")
    assert finished.planned() == {}
    # Deliberately: all that a package computes, from the first rule that it is used in.
    jobs = finished.planned("--forcerun", "fit_encoding")
    assert jobs["fit_encoding"] == 12
    assert "extract_features" not in jobs


def test_an_added_signal_leaves_the_features_of_other_signals_as_they_are(finished):
    registry = finished.folder / "tests/workflow/tiny/signals.yaml"
    with registry.open("a") as file:
        file.write(
            "  tiny_more:\n"
            "    signals: [activation, gradient_dino, gradient_entropy]\n"
            "    pooling: {kind: mean}\n"
            "    calibration: few_crops\n"
        )
    before = finished.contents("features/**/*")
    finished.edit(STUDY, "signal_set: tiny", "signal_set: tiny_more")
    jobs = finished.planned()
    assert (jobs["extract_features"], jobs["fit_encoding"], jobs["compute_rsa"]) == (9, 12, 8)
    assert "prepare_responses" not in jobs
    jobs = finished.run("features", "--config", "only_models=[tiny_b]")
    assert jobs == {"compute_objective_targets": 3, "extract_features": 3}
    after = finished.contents("features/**/*")
    assert before == {name: after[name] for name in before}
    # Back to the old signals nothing is to be done: theirs are still there.
    finished.edit(STUDY, "signal_set: tiny_more", "signal_set: tiny")
    assert finished.planned() == {}


def test_a_lost_store_is_rebuilt_with_the_same_content(finished):
    store = finished.folder / "results/tiny/encoding/tiny_a/blocks.5/tiny_fmri-s1.zarr"
    before = {
        file.relative_to(store): file.read_bytes()
        for file in store.rglob("*")
        if file.is_file() and file.name != ".snakemake_timestamp"
    }
    shutil.rmtree(store)
    assert finished.run()["fit_encoding"] == 1
    for name, content in before.items():
        assert (store / name).read_bytes() == content


def test_a_damaged_store_is_refused_by_name(finished):
    store = finished.folder / "results/tiny/features/tiny_a"
    store = finished.folder / "results/features/tiny_a/blocks.5/tiny/tiny_fmri-s1.zarr"
    shard = max(store.glob("signals/gradient_dino/c/**/*"), key=lambda file: file.stat().st_size)
    shard.unlink()
    shutil.rmtree(finished.folder / "results/tiny/encoding/tiny_a/blocks.5/tiny_fmri-s1.zarr")
    done = finished.snakemake("--configfile", "tests/workflow/tiny/study.yaml", check=False)
    assert done.returncode != 0
    assert (
        "blocks.5/tiny/tiny_fmri-s1.zarr: its file signals/gradient_dino/c"
        in done.stdout + done.stderr
    )


def test_results_of_a_run_carry_digests_and_a_swapped_one_is_named(finished):
    def verify():
        script = finished.folder / "scripts" / "verify_results.py"
        command = [sys.executable, str(script), "--configfile", "tests/workflow/tiny/study.yaml"]
        return subprocess.run(command, cwd=finished.folder, capture_output=True, text=True)

    done = verify()
    assert done.returncode == 0, done.stdout
    assert " 0 faults" in done.stdout and "no digest" not in done.stdout
    responses = finished.folder / "results/tiny/responses"
    shutil.rmtree(responses / "tiny_fmri-s1.zarr")
    shutil.copytree(responses / "tiny_fmri-s2.zarr", responses / "tiny_fmri-s1.zarr")
    told = "holds responses of subject 'tiny_fmri-s2', expected 'tiny_fmri-s1'"
    done = verify()
    assert done.returncode == 1 and told in done.stdout
    command = (
        "rm -r results/tiny/responses/tiny_fmri-s1.zarr && snakemake --cores all --configfile "
        "tests/workflow/tiny/study.yaml -- results/tiny/responses/tiny_fmri-s1.zarr"
    )
    assert command in done.stdout
    shutil.rmtree(finished.folder / "results/tiny/encoding/tiny_a/blocks.5/tiny_fmri-s1.zarr")
    run = finished.snakemake("--configfile", "tests/workflow/tiny/study.yaml", check=False)
    assert run.returncode != 0 and told in run.stdout + run.stderr


def test_a_subset_of_models_touches_no_file_of_the_whole_study(finished):
    before = {
        **finished.contents("tiny/claims.*"),
        **finished.contents("tiny/report.html"),
        **finished.contents("tiny/figures/*"),
        **finished.contents("tiny/*/tiny_a*"),
    }
    shutil.rmtree(finished.folder / "results" / "tiny" / "encoding" / "tiny_b" / "blocks.3")
    jobs = finished.run("--config", "only_models=[tiny_b]")
    assert jobs == {
        "fit_encoding": 4, "collect_scores": 1, "collect_maps": 1, "score_hierarchy": 1
    }  # fmt: skip
    after = {
        **finished.contents("tiny/claims.*"),
        **finished.contents("tiny/report.html"),
        **finished.contents("tiny/figures/*"),
        **finished.contents("tiny/*/tiny_a*"),
    }
    assert before == after


def test_a_subset_of_subjects_and_layers_runs_their_fits_alone(checkout):
    jobs = checkout.planned(
        "--config", "only_models=[tiny_a]", "only_subjects=[tiny_fmri-s1]", "only_layers=[blocks.5]"
    )
    assert jobs == {
        "prepare_stimuli": 2,
        "compute_objective_targets": 1,
        "extract_features": 4,
        "prepare_responses": 1,
        "fit_encoding": 1,
    }


def write_weights(checkout, seed):
    """Place weights of an untrained network as a checkpoint."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    state = timm.create_model("mobilenetv2_050").state_dict()
    file = checkout.folder / "data" / "weights" / "tiny_c.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file)


def test_an_added_model_and_its_replaced_weights_leave_the_others_as_they_are(finished):
    others = ("features/tiny_[ab]/**/*", "tiny/*/tiny_[ab]/**/*", *WHOLE_STUDY)
    before = results_of_others(finished, *others)
    weights = "{source: file, path: weights/tiny_c.safetensors}"
    entry = f"architecture: mobilenetv2_050, weights: {weights}, input_size: 48"
    models = "tests/workflow/tiny/models.yaml"
    finished.edit(models, "models:", f"models:\n  tiny_c: {{{entry}}}")
    finished.edit(STUDY, "models:", "models:\n  - {name: tiny_c, layers: [blocks.2]}")
    write_weights(finished, seed=0)
    features = {"compute_objective_targets": 3, "extract_features": 3}
    own = {**features, "measure_reliability": 3, "fit_encoding": 4, "compute_rsa": 4,
           "measure_unique": 4, "collect_scores": 1, "collect_maps": 1,
           "score_hierarchy": 1}  # fmt: skip
    jobs = finished.planned()
    assert own.items() <= jobs.items()
    assert set(jobs) - set(own) == {
        "test_claims", "plot_figure", "write_config", "write_entries", "write_report"
    }  # fmt: skip
    assert finished.run("--config", "only_models=[tiny_c]") == own

    write_weights(finished, seed=1)
    assert finished.planned("--config", "only_models=[tiny_c]") == own
    assert own.items() <= finished.planned().items()
    store = "features/tiny_c/blocks.2/tiny/tiny.zarr/**/*"
    first = finished.contents(store)
    assert finished.run("features", "--config", "only_models=[tiny_c]") == features
    assert {name: found[1] for name, found in first.items()} != {
        name: found[1] for name, found in finished.contents(store).items()
    }
    assert before == results_of_others(finished, *others)


def test_one_job_per_model_writes_the_same_features_as_one_per_layer(finished, checkout):
    checkout.edit("tests/workflow/tiny/study.yaml", "unit: layer", "unit: model")
    jobs = checkout.run("features")
    assert sum(count for name, count in jobs.items() if name.startswith("extract_")) == 2 * 3
    stores = sorted((checkout.folder / "results/features").glob("*/*/tiny/*.zarr"))
    assert len(stores) == 9
    from gradbrain.store import open_store

    for store in stores:
        fused = open_store(store, kind="features")
        single = open_store(finished.folder / store.relative_to(checkout.folder), kind="features")
        assert set(fused.data_vars) == set(single.data_vars)
        for name in fused.data_vars:
            difference = abs(fused[name].values - single[name].values)
            assert (difference <= 1e-5 * (1 + abs(single[name].values)))[
                ~(fused[name].isnull() & single[name].isnull()).values
            ].all(), (store, name)


def test_one_job_of_fits_per_model_writes_what_one_per_layer_writes(finished):
    stores = "tiny/encoding/**/*"
    before = finished.contents(stores)
    finished.edit(STUDY, "  n_folds: 3", "  unit: model\n  n_folds: 3")
    # The settings and the report, which prints them, say so; no fit is made again.
    assert finished.planned() == {"write_config": 1, "write_report": 1}
    shutil.rmtree(finished.folder / "results/tiny/encoding/tiny_a/blocks.5")
    jobs = finished.run("encoding")
    # Both layers of the model, for each of four subjects.
    assert jobs == {"fit_encoding_tiny_a": 4}
    after = finished.contents(stores)
    written = {path for path in after if after[path][0] != before[path][0]}
    assert {path.parts[4] for path in written} == {"blocks.1", "blocks.5"}
    data = [path for path in before if "c" in path.parts or path.suffix == ".parquet"]
    assert data and all(before[path][1] == after[path][1] for path in data)
    finished.run()
    assert finished.planned() == {}


def test_studies_that_take_other_layers_in_one_pass_do_not_remake_each_others(checkout):
    checkout.edit(STUDY, "unit: layer", "unit: model")
    other = "tests/workflow/tiny/other.yaml"
    text = (checkout.folder / STUDY).read_text().replace("study: tiny", "study: other")
    (checkout.folder / other).write_text(text.replace("[blocks.1, blocks.5]", "[blocks.5]"))
    checkout.run("features")
    arrays = "features/tiny_a/*/tiny/*.zarr/signals/activation/**/*"
    first = checkout.contents(arrays)
    assert checkout.dry_run(other, "features")[1] == {}
    # A layer that the first study does not take: the pass makes the shared one again, as it was.
    (checkout.folder / other).write_text(
        text.replace("[blocks.1, blocks.5]", "[blocks.3, blocks.5]")
    )
    checkout.snakemake("--configfile", other, "--", "features")
    assert checkout.planned("features") == {}
    assert checkout.dry_run(other, "features")[1] == {}
    second = checkout.contents(arrays)
    assert {name: content for name, (_, content) in first.items()}.items() <= {
        name: content for name, (_, content) in second.items()
    }.items()
    assert len(second) > len(first)
    kept = [name for name in first if "blocks.1" in name.parts]
    assert kept and all(second[name] == first[name] for name in kept)


def test_a_changed_entry_under_existing_features_is_refused(finished):
    finished.edit("tests/workflow/tiny/models.yaml", "seed: 1", "seed: 5")
    done = finished.snakemake(
        "--configfile", "tests/workflow/tiny/study.yaml", "--dry-run", check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "the definition of model 'tiny_b'" in text
    assert "rm -r results/features/tiny_b/*/tiny" in text


def test_activations_are_reduced_once_for_all_layers_of_a_model_and_subject(finished):
    finished.edit(
        "tests/workflow/tiny/study.yaml", "n_folds: 3", "n_folds: 3\n  baseline_components: 5"
    )
    jobs = finished.planned()
    assert jobs["reduce_activations"] == 2 * 4
    assert jobs["fit_encoding"] == 12
    assert "extract_features" not in jobs
    fits = [
        f"results/tiny/encoding/tiny_a/{layer}/tiny_fmri-s1.zarr"
        for layer in ("blocks.1", "blocks.5")
    ]
    assert finished.run(*fits) == {"reduce_activations": 1, "fit_encoding": 2}
    # A setting of the fits alone leaves the reduction as it is.
    finished.edit("tests/workflow/tiny/study.yaml", "n_penalties: 4", "n_penalties: 5")
    assert finished.planned(*fits) == {"fit_encoding": 2}


def test_snakemakes_own_report_holds_every_figure_with_its_caption(first_run):
    checkout, _ = first_run
    checkout.snakemake("--configfile", STUDY, "--report", "out.zip")
    figures = {file.stem for file in (checkout.folder / "results/tiny/figures").glob("*.pdf")}
    SnakemakeReport.read(checkout.folder / "out.zip").check(figures)
