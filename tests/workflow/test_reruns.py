"""What is run again after which change, counted on real Snakemake runs."""

from __future__ import annotations

import shutil

FIGURE = "encoding_by_region"
# 3 stimulus sets (one of each fMRI subject, one shared), and the calibration images; 2 planting
# layers and 3 analysed layers for each stimulus set; 3 layers for each of 4 subjects.
FRESH = {
    "prepare_stimuli": 4,
    "extract_features": 3 * (2 + 3),
    "prepare_responses": 4,
    "fit_encoding": 3 * 4,
    "compute_rsa": 2 * 4,
    "collect_scores": 2,
    "collect_maps": 2,
    "score_hierarchy": 2,
    "test_claims": 1,
    "write_config": 1,
    "write_report": 1,
}


def without_figures(jobs):
    return {name: count for name, count in jobs.items() if name != "plot_figure"}


def test_a_fresh_run_makes_every_result(first_run):
    checkout, jobs = first_run
    assert without_figures(jobs) == FRESH
    results = checkout.folder / "results" / "tiny"
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


def test_one_model_is_run_again_by_force(finished):
    jobs = finished.run(
        "--forcerun", "score_hierarchy", "--", "results/tiny/hierarchy/tiny_b.parquet"
    )
    assert jobs == {"score_hierarchy": 1}


def test_one_model_whose_result_is_removed_is_run_again_alone(finished):
    before = finished.contents("tiny/encoding/tiny_a/**/*")
    shutil.rmtree(finished.folder / "results" / "tiny" / "encoding" / "tiny_b")
    jobs = finished.run()
    assert jobs["fit_encoding"] == 4
    assert "extract_features" not in jobs
    assert before == finished.contents("tiny/encoding/tiny_a/**/*")


def test_a_changed_plotting_module_redraws_its_figure_and_the_report_alone(finished):
    finished.append(f"workflow/gradbrain/figures/{FIGURE}.py", "\nCHANGED = True\n")
    assert finished.run() == {"plot_figure": 1, "write_report": 1}


def test_an_added_module_reruns_nothing(finished):
    (finished.folder / "workflow/gradbrain/objectives/my_objective.py").write_text("X = 1\n")
    (finished.folder / "workflow/gradbrain/encoding/my_scores.py").write_text("X = 1\n")
    assert finished.planned() == {}


def test_a_changed_objective_reruns_extraction_and_what_follows(finished):
    finished.append("workflow/gradbrain/objectives/dino.py", "\nCHANGED = True\n")
    jobs = finished.planned()
    # The planted activations use no objective, so they and the responses stay.
    assert jobs["extract_features"] == 9
    assert jobs["fit_encoding"] == 12
    assert "prepare_stimuli" not in jobs
    assert "prepare_responses" not in jobs


def test_a_changed_extraction_module_reruns_extraction_and_what_follows(finished):
    finished.append("workflow/gradbrain/signals/pooling.py", "\nCHANGED = True\n")
    jobs = finished.planned()
    assert jobs["extract_features"] == 15
    assert jobs["fit_encoding"] == 12
    assert "prepare_stimuli" not in jobs


def test_a_changed_encoding_setting_leaves_extraction_untouched(finished):
    finished.edit("tests/workflow/tiny/study.yaml", "n_penalties: 4", "n_penalties: 5")
    jobs = finished.planned()
    assert jobs["fit_encoding"] == 12
    assert "extract_features" not in jobs
    assert "prepare_responses" not in jobs
    assert "compute_rsa" not in jobs


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
    shard = max(store.glob("gradient_dino/c/**/*"), key=lambda file: file.stat().st_size)
    shard.unlink()
    shutil.rmtree(finished.folder / "results/tiny/encoding/tiny_a/blocks.5/tiny_fmri-s1.zarr")
    done = finished.snakemake("--configfile", "tests/workflow/tiny/study.yaml", check=False)
    assert done.returncode != 0
    assert "blocks.5/tiny/tiny_fmri-s1.zarr: its file gradient_dino/c" in done.stdout + done.stderr


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
        "extract_features": 4,
        "prepare_responses": 1,
        "fit_encoding": 1,
    }


def test_a_model_added_to_the_study_leaves_the_others_as_they_are(finished):
    entry = "architecture: mobilenetv2_050, untrained: true, seed: 2, input_size: 48"
    models = "tests/workflow/tiny/models.yaml"
    finished.edit(models, "models:", f"models:\n  tiny_c: {{{entry}}}")
    added = "models:\n  - {name: tiny_c, layers: [blocks.2]}"
    finished.edit("tests/workflow/tiny/study.yaml", "models:", added)
    jobs = finished.planned()
    assert (jobs["extract_features"], jobs["fit_encoding"], jobs["compute_rsa"]) == (3, 4, 4)
    assert "prepare_responses" not in jobs
    assert (jobs["collect_scores"], jobs["score_hierarchy"], jobs["test_claims"]) == (1, 1, 1)


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
