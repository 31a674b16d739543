"""Bad input: every file, key, path and number that is wrong ends in an error of our own."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.registries import Registries
from gradbrain.config.schema import MAX_NAME
from gradbrain.config.study import load_study
from gradbrain.config.yaml_files import MAX_DEPTH, read_yaml
from gradbrain.plan.checks import StudyChecks
from gradbrain.plan.command_line import (
    asked_of,
    check_before_reading,
    check_single_options,
    check_targets,
)
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/workflow/tiny"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise("abcdefgh")
)


def tiny(**changes):
    config = yaml.safe_load((TINY / "study.yaml").read_text())
    config["registries"] = [str(TINY)]
    for key, value in changes.items():
        known = config.get(key)
        merged = isinstance(known, dict) and isinstance(value, dict)
        config[key] = {**known, **value} if merged else value
    return config


def plan_of(config):
    return Plan(load_study(config, root=ROOT, where="study.yaml"), ROOT)


def check(config):
    plan = plan_of(config)
    checks = StudyChecks(plan)
    checks.roots()
    checks.link_roots()
    plan.check()


# --- YAML and CSV ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"models:\n  1: {}\n", r"line 2: a key is 1 \(int\), expected a text; write it in quotes"),
        (b"on: 1\n", r"line 1: a key is on \(bool\)"),
        (b"~: 1\n", r"line 1: a key is ~ \(null\)"),
        (b"2026-01-01: 1\n", r"line 1: a key is 2026-01-01 \(timestamp\)"),
        (b"? [a]\n: 1\n", "a key is a seq"),
        (b"a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is there twice"),
        ("title: café\n".encode("latin-1"), r"line 1: is not in UTF-8 \(byte 0xe9\)"),
        ("a: b\n".encode("utf-16"), "is not in UTF-8"),
        (b"a: \x00\n", "is not valid YAML"),
        (b"[" * 10_000, f"nested more than {MAX_DEPTH} levels"),
        (b"\n".join(b" " * n + b"a:" for n in range(300)), f"nested more than {MAX_DEPTH} levels"),
        (BOMB.encode(), "holds more than 1,000,000 values"),
        (b"a: &a [*a]\n", r"the alias \*a refers to itself"),
        (b"a: *none\n", "found undefined alias 'none'"),
        (b"a: 2026-13-45\n", "a value that cannot be read"),
        (b"a: " + b"9" * 5000, "a value that cannot be read"),
        (b"a: !!python/object:os.system {}\n", "could not determine a constructor"),
        (b"a: 1\n---\nb: 2\n", "another document"),
        (b"- a\n", "expected a mapping, found list"),
        (b"", "expected a mapping, found nothing"),
        (b"#" * (17 << 20), "has 17 MiB, expected no more than 16"),
    ],
)
def test_a_yaml_file_that_is_no_mapping_of_texts_is_refused_with_its_line(
    tmp_path, content, message
):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(GradbrainError, match=message) as refused:
        read_yaml(tmp_path / "mine.yaml")
    assert str(refused.value).startswith(f"{tmp_path}/mine.yaml")


def test_merged_keys_may_be_replaced_and_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    content = "\ufeffx: &x {a: 1}\ny:\n  <<: *x\n  a: 2\nz: {<<: *x, b: 2}\n"
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    assert read_yaml(tmp_path / "mine.yaml") == {
        "x": {"a": 1},
        "y": {"a": 2},
        "z": {"a": 1, "b": 2},
    }


@pytest.mark.parametrize("path", [".", "none.yaml", "a\0b", "x" * 300])
def test_a_path_that_is_no_file_is_named(tmp_path, path):
    with pytest.raises(GradbrainError, match=r"cannot be read|no such file"):
        read_yaml(tmp_path / path)


HEADER = "architecture,layer,layer_index,depth\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("net,a/b,0,0.5\n", "line 2: .*layer 'a/b': expected the name of a module"),
        ("net,../x,0,0.5\n", r"layer '\.\./x'"),
        ("net,{x},0,0.5\n", "layer '{x}'"),
        ("net,,0,0.5\n", "layer ''"),
        (f"net,{'x' * 101},0,0.5\n", "no longer than 100"),
        (",a,0,0.5\n", "architecture is empty"),
        ("net,a,-1,0.5\n", "layer_index -1 is below 0"),
        ("net,a,0,nan\n", "depth nan is not between"),
        ("net,a,0,1.5\n", r"depth 1\.5 is not between"),
        ("net,a,zero,0.5\n", "invalid literal"),
        ("net,a\n", "line 2: "),
        ("net,a,0,0.5\nnet,b\0c,1,0.6\n", "line 3: "),
    ],
)
def test_a_row_of_layers_that_is_wrong_is_named_with_its_line(tmp_path, rows, message):
    (tmp_path / "layers.csv").write_text(HEADER + rows)
    with pytest.raises(GradbrainError, match=message) as refused:
        Registries([tmp_path])
    assert str(refused.value).startswith(f"{tmp_path}/layers.csv, line ")


def test_layers_in_another_encoding_are_named_and_a_byte_order_mark_is_not_minded(tmp_path):
    (tmp_path / "layers.csv").write_bytes((HEADER + "café,a,0,1\n").encode("latin-1"))
    with pytest.raises(GradbrainError, match=r"layers\.csv, line 2: is not in UTF-8"):
        Registries([tmp_path])
    (tmp_path / "layers.csv").write_bytes(("\ufeff" + HEADER + "net,a,0,1\n").encode())
    assert [row.name for row in Registries([tmp_path]).layers("net", where="test")] == ["a"]


def test_an_entry_may_not_give_itself_another_name(tmp_path):
    entry = "models: {a: {name: b, architecture: x, weights: {source: random}}}"
    (tmp_path / "models.yaml").write_text(entry)
    with pytest.raises(GradbrainError, match=r"models\.a: name: an entry is called by its key"):
        Registries([tmp_path])


# --- a study ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roots": {1: "x"}}, r"study\.yaml: roots\.1: the key is 1 \(int\)"),
        ({"models": [{"name": "tiny_a", None: 1}]}, r"models\.0\.None: the key is None"),
        ({"study": "a" * 300}, "study: expected no more than 100 characters, found 'aaa"),
        ({"studyy": "x"}, r"studyy: unknown key\..* Did you mean 'study'\?"),
        ({"encoding": {"n_draw": 3}}, r"Did you mean 'n_draws'\?"),
        ({"figures": {"names": ["encoding_by_regions"]}}, "Did you mean 'encoding_by_region'"),
        ({"encoding": {"n_draws": float("nan")}}, "finite number, found nan"),
        ({"statistics": {"alpha": float("nan")}}, "finite number, found nan"),
        ({"roots": {"weights": ""}}, r"roots\.weights: '' cannot be used: it is empty"),
        ({"roots": {"weights": "a\0b"}}, "embedded null byte"),
        ({"roots": {"weights": "/" + "a" * 400}}, "File name too long"),
        ({"roots": {"weights": "/etc/passwd"}}, "there is no folder /etc/passwd"),
        ({"roots": {"weights": "~nobody-here/x"}}, r"roots\.weights: "),
        ({"registries": ["x" * 300]}, "registries: there is no folder"),
        ({"plugins": ["x" * 300]}, "plugins: there is no folder"),
    ],
)
def test_what_is_odd_in_a_study_is_told_in_own_words(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GradbrainError, match=message) as refused:
        check(tiny(**change))
    assert len(str(refused.value)) < 2000


def test_a_root_that_would_hold_its_own_link_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(GradbrainError, match="is the folder that the link would lie in"):
        check(tiny(roots={"weights": "data"}))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"encoding": {"n_draws": 10**15}}, "encoding.n_draws"),
        ({"encoding": {"n_draws": 1.0e15}}, "encoding.n_draws"),
        ({"encoding": {"n_penalties": 10**15}}, "encoding.n_penalties"),
        ({"encoding": {"n_folds": 10**15}}, "encoding.n_folds"),
        ({"encoding": {"n_band_weights": 10**15}}, "encoding.n_band_weights"),
        ({"encoding": {"n_simplex_draws": 10**15}}, "encoding.n_simplex_draws"),
        ({"rsa": {"n_draws": 10**15}}, "rsa.n_draws"),
    ],
)
def test_absurd_sizes_are_refused_by_an_estimate_of_memory(tmp_path, monkeypatch, change, key):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GradbrainError) as refused:
        check(tiny(**change))
    told = re.search(
        rf"study\.yaml: {re.escape(key)}: 1,000,000,000,000,000 takes ([\d,]+) GiB at the least "
        r"\(.*\), and no job gets more than 4,096 GiB; lower it",
        str(refused.value),
    )
    # A number takes four bytes or more.
    assert int(told[1].replace(",", "")) > 4 * 10**15 / 2**30 - 1


def test_absurd_counts_of_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(TINY, tmp_path / "mine")
    for file, old, new, told in (
        ("datasets.yaml", "n_sensors: 12", "n_sensors: 1000000000000000", "n_sensors"),
        ("models.yaml", "input_size: 48", "input_size: 1000000000000000", "input_size"),
    ):
        text = (tmp_path / "mine" / file).read_text()
        (tmp_path / "mine" / file).write_text(text.replace(old, new))
        with pytest.raises(GradbrainError, match=rf"{told}: 1,000,000,000,000,000 is more than"):
            check({**tiny(), "registries": ["mine"]})
        (tmp_path / "mine" / file).write_text(text)
    check({**tiny(), "registries": ["mine"]})


def test_combinations_without_end_are_refused_before_they_are_drawn():
    levels = [{"name": "as_it_is"}, {"name": "other", "statistics": {"alpha": 0.1}}]
    section = {"factors": [{"name": "level", "levels": levels}], "n_combinations": 10**15}
    with pytest.raises(GradbrainError, match=r"sensitivity\.n_combinations: .* 10000, found"):
        plan_of(tiny(sensitivity=section))


@pytest.mark.parametrize(
    "path",
    [
        "/elsewhere/x.safetensors",
        "../x.safetensors",
        "a/../../x",
        "~/x",
        ".",
        "folder/",
        "a{b}c",
        "a\0b",
    ],
)
def test_a_checkpoint_lies_below_data(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(TINY, tmp_path / "mine")
    registry = yaml.safe_load((TINY / "models.yaml").read_text())
    registry["models"]["tiny_b"]["weights"] = {"source": "file", "path": path}
    (tmp_path / "mine" / "models.yaml").write_text(yaml.safe_dump(registry))
    with pytest.raises(GradbrainError, match=r"model 'tiny_b': weights: .*below data/"):
        check({**tiny(), "registries": ["mine"]})


# --- names -----------------------------------------------------------------------------------


def test_names_that_differ_in_hyphens_and_dots_have_rules_of_their_own():
    plan = plan_of(tiny())
    given = [("a-b", "c"), ("a_b", "c"), ("a.b", "c"), ("a", "b_c"), ("a_b_c",)]
    names = [plan.rule_name("extract_features", *parts) for parts in given]
    assert names[0] == "extract_features_a_b_c"
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"\w+", name) for name in names)
    assert [plan.rule_name("extract_features", *parts) for parts in given] == names


def test_a_signal_set_that_levels_would_give_too_long_a_name_is_refused():
    level = "x" * MAX_NAME
    pooling = {"pooling": {"kind": "grid", "size": 2}}
    levels = [{"name": "as_it_is"}, {"name": level, "signal_set": pooling}]
    section = {"factors": [{"name": "f", "levels": levels}], "n_combinations": 0}
    with pytest.raises(GradbrainError, match="has 105 characters, more than 100"):
        plan_of(tiny(sensitivity=section))


# --- command line ----------------------------------------------------------------------------


@pytest.mark.parametrize("second", [["--configfile", "b"], ["--configfiles=b"]])
def test_a_second_config_file_is_refused(second):
    first = ["snakemake", "--configfile", "mine.yaml", "--cores", "1"]
    check_single_options(first)
    with pytest.raises(GradbrainError, match="--configfile is given 2 times"):
        check_single_options([*first, *second])


class Made:
    """A rule as Snakemake holds it."""

    def __init__(self, name, path):
        self.name, self.path = name, path

    def is_producer(self, path):
        return path == self.path


@pytest.mark.parametrize(
    ("option", "target", "message"),
    [
        ("", "featurs", r"^featurs: there is no such target\. Did you mean 'features'\?"),
        ("--until", "claim", r"^--until claim: .* Did you mean 'claims'\?"),
        ("", "only_models=[a]", r"goes behind --config: --config 'only_models=\[a\]'"),
        ("", "results/tiny/claim.csv", "Did you mean 'results/tiny/claims.csv'"),
        ("", "results/tiny/scores/tiny_c.parquet", "no model 'tiny_c'. Did you mean 'tiny_[ab]'"),
        ("", "results/tini/claims.csv", "no study here 'tini'. Did you mean 'tiny'"),
        ("", "results/tiny/rsa/tiny_a/tiny_fmri-s9.parquet", "no subject of the study"),
        ("", "results/features/tiny_a/blocks.9/tiny/tiny.zarr", "no layer of tiny_a 'blocks.9'"),
        ("", "results/tiny/figures/claims_overvew.pdf", "Did you mean 'claims_overview'"),
    ],
)
def test_a_misspelt_target_is_told_with_what_may_have_been_meant(option, target, message):
    plan = plan_of(tiny())
    rules = [Made("features", "x"), Made("claims", "results/tiny/claims.csv")]
    with pytest.raises(GradbrainError, match=message):
        check_targets({option: [target]}, rules, plan.check_result, plan.results_by_path)
    right = ["features", "results/tiny/claims.csv", "./results/tiny/claims.csv", "/etc/passwd"]
    check_targets({"": right}, rules, plan.check_result, plan.results_by_path)


def test_targets_are_read_off_the_command_line_of_snakemake_and_of_nothing_else(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    line = ["--cores", "1", "--until", "claims", "--forcerun", "maps", "--", "features"]
    expected = {"": ["features"], "--until": ["claims"], "--omit-from": [], "--forcerun": ["maps"]}
    assert asked_of(["/usr/bin/snakemake", *line]) == expected
    assert asked_of(["/x/snakemake/__main__.py", *line]) == expected
    assert asked_of(["/usr/bin/pytest", *line]) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: caf\xe9\n", r"study\.yaml, line 1: is not in UTF-8"),
        ("a: " + "[" * 1000 + "]" * 1000, r"study\.yaml, line 1: is nested more than 64 levels"),
        ("a: [\n", r"study\.yaml, line 2: is not valid YAML"),
    ],
)
@pytest.mark.parametrize("given", ["--configfile {}", "--configfile={}"])
def test_config_files_are_looked_at_before_snakemake_reads_them(tmp_path, text, told, given):
    path = tmp_path / "study.yaml"
    path.write_bytes(text.encode("latin-1"))
    arguments = given.format(path).split()
    with pytest.raises(GradbrainError, match=told):
        check_before_reading(["bin/snakemake", "--cores", "1", *arguments, "--dry-run"])
    # Another program's options are its own.
    check_before_reading(["pytest", *arguments])


@pytest.mark.parametrize("value", ["a=1", "1a=2", "=3"])
def test_a_key_that_no_study_can_have_is_told_before_snakemake_stumbles(value):
    with pytest.raises(GradbrainError, match=f"--config {value}: .* is no key of a study"):
        check_before_reading(["snakemake", "--config", "only_models=[a]", value])
    check_before_reading(["snakemake", "--config", "only_models=[a]", "--", "a=1"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "--configfile config/demo.yaml claims",
            "--configfile takes all that follows it, claims as well: give one file, the whole "
            "study; a target goes in front of it or behind -- "
            "(snakemake … --configfile … -- claims)",
        ),
        (
            "--configfile config/demo.yaml results/demo/claims.csv",
            "--configfile takes all that follows it, results/demo/claims.csv as well",
        ),
        (
            "--configfile config/demo.yaml config/demo.yaml",
            "--configfile takes all that follows it, config/demo.yaml as well: give one file",
        ),
        (
            "--configfile config/demo.yaml --config only_models=[a] features",
            "--config takes all that follows it, features as well: it is no KEY=VALUE",
        ),
        (
            "--configfile config/dmo.yaml",
            "--configfile config/dmo.yaml: there is no such file. Did you mean 'config/demo.yaml'?",
        ),
        (
            "--configfile demo.yaml",
            "--configfile demo.yaml: there is no such file. Did you mean 'config/demo.yaml'?",
        ),
        ("--configfile config", "--configfile config: is a folder; give a file in it"),
        (
            "--configfile config/demo.yaml --cores 1 --configfile config/demo.yaml",
            "--configfile is given 2 times, of which only the last would count",
        ),
    ],
)
def test_what_an_option_swallows_and_a_file_that_is_not_there_are_told(
    tmp_path, monkeypatch, line, told
):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "demo.yaml").write_text("study: demo\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GradbrainError) as error:
        check_before_reading(["snakemake", "--cores", "1", *line.split()])
    assert str(error.value).startswith(told)
    for right in (
        "claims --configfile config/demo.yaml",
        "--configfile config/demo.yaml --config a_key=1 -- claims",
        "--configfile=config/demo.yaml claims",
    ):
        check_before_reading(["snakemake", "--cores", "1", *right.split()])


def test_snakemake_itself_says_it_in_one_line(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes("title: caf\xe9\n".encode("latin-1"))
    command = [sys.executable, "-m", "snakemake", "--configfile", str(path), "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"error: {path}, line 1: is not in UTF-8")
    assert "Traceback" not in done.stdout + done.stderr
