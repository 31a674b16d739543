"""A study whose modality, adapter, rule, objective and figure lie outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from trees.snakemake_report import SnakemakeReport

from gradbrain.figures.inputs import with_text
from gradbrain.store import open_store, open_tree, read_statistics, read_table

FOREIGN = Path(__file__).parent / "foreign"


@pytest.fixture(scope="module")
def study(fresh_checkout, tmp_path_factory):
    """The study, run from nothing with signals of one rule, then with those of two."""
    outside = tmp_path_factory.mktemp("outside") / "mine"
    shutil.copytree(FOREIGN, outside, ignore=shutil.ignore_patterns("__pycache__"))
    checkout = fresh_checkout("with_plugins")
    text = (outside / "study.yaml").read_text()
    # Relative, as people write it: captions are found all the same.
    relative = os.path.relpath(outside / "plugins", checkout.folder)
    text = text.replace("FOREIGN/plugins", relative).replace("FOREIGN", str(outside))
    (outside / "study.yaml").write_text(text)
    one = text.replace("study: foreign", "study: one").replace("two_rules", "one_rule")
    (outside / "one.yaml").write_text(one)
    for name in ("one", "study"):
        checkout.snakemake("--configfile", str(outside / f"{name}.yaml"), "--nocolor")
    return checkout, outside


def test_it_reaches_claims_figures_and_report_without_an_edit_in_the_library(study):
    checkout, _ = study
    results = checkout.folder / "results" / "foreign"
    claims = read_table(results / "claims.csv", kind="claims")
    assert set(claims["modality"]) == {"ieeg"} and set(claims["axis"]) == {"time"}
    assert {"A1", "P1", "P3", "P4", "C1", "C2"} == set(claims["prediction"])
    assert "two patients" in (results / "report.html").read_text()
    assert "intracranial EEG" in (results / "report.html").read_text()
    figures = {file.stem for file in (results / "figures").glob("*.pdf")}
    assert {"scores_after_onset", "encoding_over_time", "peak_time_by_depth"} <= figures
    # Contacts have no place on a helmet, and none on cortex.
    assert not {"sensor_topography", "cortical_map"} & figures
    assert "two patients" not in (results / "claims.csv").read_text()


def test_the_fitted_model_is_a_result_of_its_own_and_part_of_what_features_are_made_from(study):
    checkout, _ = study
    results = checkout.folder / "results"
    stores = sorted((results / "feedback" / "foreign_net").glob("*/calibration.zarr"))
    assert [path.parent.name for path in stores] == ["all_activations", "magnitude"]
    fitted = open_store(stores[0], kind="feedback")
    features = results / "features/foreign_net/blocks.2/two_rules/foreign.zarr"
    attrs = open_store(features, kind="features").attrs
    assert fitted.attrs["digest"] in str(attrs["feedback_digests"])
    signals = open_tree(features, kind="features")["signals"]
    assert set(signals.data_vars) == {
        *("h", "north", "south", "all_activations", "magnitude"), "guess"
    }  # fmt: skip


def test_a_rule_that_depends_on_chance_is_drawn_again_and_not_judged(study):
    checkout, _ = study
    results = checkout.folder / "results"
    table = read_table(results / "foreign/reliability/foreign_net/foreign.parquet")
    assert set(table["signal"]) == {"guess"} and set(table["layer"]) == {"blocks.2", "blocks.5"}
    # Four directions of thousands.
    assert table["reliability"].between(-0.2, 0.5).all()
    claims = read_table(results / "foreign/claims.csv", kind="claims")
    guess = claims[claims["signal"] == "guess"]
    assert set(guess["reason"]) == {"unreliable_signal"}
    assert set(guess["verdict"]) == {"undetermined", "descriptive"}
    assert "perturbed does not repeat itself" in (results / "foreign/report.html").read_text()
    assert (results / "foreign/figures/signal_reliability.csv").is_file()
    # Signals of the other rules have nothing random, and their study no job for it.
    others = claims[claims["signal"] != "guess"]
    assert "unreliable_signal" not in set(others["reason"])
    assert others["reliability"].isna().all()
    assert not (results / "one/reliability").exists()
    assert not (results / "one/figures/signal_reliability.csv").exists()


def test_a_rule_that_needs_all_layers_is_planned_as_a_pass_of_the_whole_model(study):
    checkout, outside = study
    shutil.copytree(outside, outside.parent / "again", dirs_exist_ok=True)
    text = (outside / "study.yaml").read_text().replace("study: foreign", "study: third")
    text = text.replace("signal_set: two_rules", "signal_set: third")
    registry = (outside / "signals.yaml").read_text() + (
        "  third:\n    signals: [h, all_activations, magnitude]\n    pooling: {kind: mean}\n"
    )
    (outside.parent / "again" / "signals.yaml").write_text(registry)
    text = text.replace(f"[{outside}]", f"[{outside.parent / 'again'}]")
    (outside / "third.yaml").write_text(text)
    _, jobs = checkout.dry_run(str(outside / "third.yaml"), "features")
    # One pass for both layers; the fitted models are there.
    assert jobs == {"extract_features_foreign_net_third": 1}


def test_signals_of_a_second_rule_change_no_row_of_the_others(study):
    checkout, _ = study
    one, two = (checkout.folder / "results" / name for name in ("one", "foreign"))
    names = ["h", "north", "south"]

    def rows(folder, path, **kind):
        frame = read_table(folder / path, **kind)
        columns = [column for column in frame.columns if column != "study"]
        if "signal" in frame:
            # Of the baseline, which has the name of one of the signals here.
            own = frame["signal"].isin(names)
            if "role" in frame:
                own |= frame["role"] == "baseline"
            frame = frame[own]
        # A column of a CSV file that holds no text is read as one of numbers.
        return with_text(frame[columns]).reset_index(drop=True)

    for path, kind in (
        ("scores/foreign_net.parquet", "scores"),
        ("hierarchy/foreign_net.parquet", "hierarchy"),
        ("rsa/foreign_net/patient-1.parquet", "rsa"),
        ("claims.csv", "claims"),
    ):
        before, after = rows(one, path, kind=kind), rows(two, path, kind=kind)
        assert len(before) > 0
        pd.testing.assert_frame_equal(before, after, check_exact=True)
    drawn = {file.name for file in (one / "figures").glob("*.csv")}
    assert len(drawn) >= 4
    for name in drawn:
        before, after = rows(one, f"figures/{name}"), rows(two, f"figures/{name}")
        if "signal" in after and "signal" not in before:
            # Nothing could be drawn of these signals, and with the others there is nothing either.
            assert after.empty
            continue
        pd.testing.assert_frame_equal(before, after, check_exact=True)
    draws = [
        read_statistics([folder / "hierarchy/foreign_net.parquet"],
                        [folder / "hierarchy/foreign_net.zarr"])
        for folder in (one, two)
    ]  # fmt: skip
    kept = draws[1].of(draws[1].table[draws[1].table["signal"].isin(names)])
    assert (draws[0].boot == kept.boot)[~pd.isna(draws[0].boot)].all()


def test_each_signal_is_held_against_its_own_controls(study):
    checkout, _ = study
    table = read_table(checkout.folder / "results/foreign/hierarchy/foreign_net.parquet")
    pairs = table[table["control"] != ""]
    assert set(zip(pairs["signal"], pairs["control"], strict=True)) == {
        ("north", "south"),
        ("all_activations", "magnitude"),
    }


def test_a_changed_plug_in_reruns_what_follows_from_it_alone(study):
    checkout, outside = study
    config = str(outside / "study.yaml")
    assert checkout.dry_run(config)[1] == {}
    (outside / "plugins/objectives/another.py").write_text(
        (outside / "plugins/objectives/brightness.py").read_text()
    )
    assert checkout.dry_run(config)[1] == {}
    with (outside / "plugins/figures/scores_after_onset.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    assert checkout.dry_run(config)[1] == {"plot_figure": 1, "write_report": 1}
    with (outside / "plugins/rules/linear_feedback.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    jobs = checkout.dry_run(config)[1]
    assert jobs["fit_feedback"] == 2 and jobs["fit_encoding"] == 4
    assert not {"prepare_stimuli", "prepare_responses"} & set(jobs)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("signals.yaml", "penalty: 10.0", "penalti: 10.0", "penalti: unknown key"),
        ("signals.yaml", "backprop, objective: bri", "bakprop, objective: bri", "mean 'backprop'?"),
        ("signals.yaml", "control_of: [north]", "control_of: [h]", "'south' controls none of the"),
        ("datasets.yaml", "n_contacts: 5", "n_contact: 5", "n_contact: unknown key"),
        ("datasets.yaml", "modality: ieeg", "modality: iegg", "there is no modality 'iegg'"),
        ("datasets.yaml", "adapter: contacts", "adapter: contact", "Did you mean 'contacts'"),
        ("plugins/figures/scores_after_onset.rst", None, None, "scores_after_onset"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_any_job(study, tmp_path, file, old, new, message):
    checkout, outside = study
    shutil.copytree(outside, tmp_path / "mine")
    path = tmp_path / "mine" / file
    if old is None:
        path.unlink()
    else:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    config = tmp_path / "study.yaml"
    text = (outside / "study.yaml").read_text()
    relative = os.path.relpath(outside, checkout.folder)
    for place in (str(outside), relative):
        text = text.replace(place, str(tmp_path / "mine"))
    config.write_text(text)
    done = checkout.snakemake("--configfile", str(config), "--dry-run", check=False)
    assert done.returncode != 0
    assert re.search(re.escape(message), done.stdout + done.stderr), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_snakemakes_own_report_takes_captions_of_figures_of_ones_own(study):
    checkout, outside = study
    config = str(outside / "study.yaml")
    checkout.snakemake("--configfile", config, "--report", "out.zip")
    figures = {file.stem for file in (checkout.folder / "results/foreign/figures").glob("*.pdf")}
    assert "scores_after_onset" in figures
    SnakemakeReport.read(checkout.folder / "out.zip").check(figures)
