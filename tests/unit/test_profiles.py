"""Claims about the profiles that need no cluster."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "profiles"


def settings(name):
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", ["slurm", "workstation"])
def test_the_default_profile_overrules_no_other(name):
    """Snakemake reads it together with the profile that is asked for, and it wins."""
    default, own = settings("default"), settings(name)
    assert {key: own[key] for key in default.keys() & own.keys()} == {
        key: default[key] for key in default.keys() & own.keys()
    }
    assert not {"default-resources", "set-resources", "resources"} & default.keys()


@pytest.mark.parametrize("profile", ["profiles/default", "slurm", "profiles/workstation"])
def test_tables_of_large_data_sets_are_compared_by_content(profile, monkeypatch):
    from snakemake.cli import parse_args

    monkeypatch.chdir(ROOT)
    _, arguments = parse_args(["--profile", profile, "all"])
    stimulus_table_of_things_meg = 1_800_000
    assert arguments.max_checksum_file_size > 10 * stimulus_table_of_things_meg


def test_the_slurm_profile_is_found_by_its_name_from_the_root():
    assert (ROOT / "slurm").resolve() == PROFILES / "slurm"


def test_nothing_limits_how_many_jobs_are_ready_at_once_where_arrays_are_used():
    """The plugin drops the jobs of a rule that come in parts, and Snakemake waits for ever."""
    slurm = settings("slurm")
    assert slurm["slurm-array-jobs"] == "all"
    jobs_of_the_paper = 3750
    assert slurm["jobs"] > jobs_of_the_paper
    submitted, seconds = re.fullmatch(r"(\d+)/(\d+)s", slurm["max-jobs-per-timespan"]).groups()
    assert int(submitted) >= slurm["jobs"]
    assert int(seconds) == 1
    assert "resources" not in slurm
    assert (ROOT / slurm["precommand"].removeprefix(". ")).is_file()


def test_every_rule_asks_for_memory_that_grows_with_the_attempt():
    rules = ROOT / "workflow" / "rules"
    inputs = (rules / "inputs.smk").read_text()
    # Whatever a function is called, it multiplies with the attempt.
    functions = re.findall(r"def (\w+_memory)\(wildcards, attempt\):", inputs)
    bodies = re.findall(r"def \w+_memory\(wildcards, attempt\):(.*?)\n\n", inputs, re.DOTALL)
    assert len(functions) == len(bodies) >= 3
    assert all("return attempt * " in body for body in bodies)
    for file in rules.glob("*.smk"):
        text = file.read_text()
        asked = re.findall(rf"mem_mb=(memory\(.+\)|{'|'.join(functions)}),", text)
        assert text.count("shell:") == len(asked), file.name
        assert text.count("shell:") == len(re.findall(r"runtime=\d+,", text)), file.name


def commands(page):
    """Indented command lines of a page that the installed Snakemake can run."""
    for line in (ROOT / "docs" / page).read_text().splitlines():
        if re.match(r"\s{4,}snakemake ", line):
            yield line.strip()


@pytest.mark.parametrize("command", commands("cluster.md"))
def test_snakemake_understands_the_commands_of_the_guide_as_printed(command, monkeypatch):
    from snakemake.cli import parse_args

    monkeypatch.chdir(ROOT)
    words = shlex.split(command.replace("<stimuli>", "stimuli"))[1:]
    _, arguments = parse_args(words)
    assert arguments.configfile == [Path("mine.yaml")]
    assert set(arguments.targets) <= {"results/stimuli/stimuli.parquet"}
    assert arguments.executor == ("slurm" if "--profile slurm" in command else None)
