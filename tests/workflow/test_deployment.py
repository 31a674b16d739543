"""How jobs find their software: with conda and Apptainer, neither of which is needed here.

Both are played by scripts that write down how Snakemake calls them and do as little as it takes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = "tests/workflow/tiny/study.yaml"
TARGET = "results/tiny/config.yaml"
RULES = Path(__file__).resolve().parents[2] / "workflow" / "rules"
CONDA = """#!/bin/sh
echo "conda $*" >> {journal}
case "$1" in
info) echo '{info}' ;;
--version) echo "conda 25.11.0" ;;
config) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
*)
    for word; do [ "$previous" = --prefix ] && mkdir -p "$word"; previous="$word"; done
    for word; do case "$word" in --prefix=*) mkdir -p "${{word#--prefix=}}" ;; esac; done
    ;;
esac
"""
APPTAINER = """#!/bin/sh
[ "$1" = --version ] && {{ echo "apptainer version 1.3.6"; exit 0; }}
echo "apptainer $*" >> {journal}
[ "$1" = pull ] && {{ touch "$3"; exit 0; }}
while [ "$1" != -c ]; do last="$1"; shift; done
exec "$last" -c "$2"
"""


@pytest.fixture
def deploy(checkout, tmp_path):
    """Run a small job with a deployment method; return how the two programs were called."""
    programs = tmp_path / "programs" / "bin"
    programs.mkdir(parents=True)
    journal = tmp_path / "journal"
    journal.touch()
    info = json.dumps({"conda_prefix": str(programs.parent), "platform": "linux-64"})
    for name, text in (("conda", CONDA), ("apptainer", APPTAINER)):
        (programs / name).write_text(text.format(journal=journal, info=info))
        (programs / name).chmod(0o755)
    # What stands for the activated environment has the packages, and leaves a trace.
    folder = Path(sys.executable).parent
    (programs / "activate").write_text(
        f'echo "activate $1" >> {journal}\nexport PATH={folder}:$PATH\n'
    )

    def run(*methods):
        study = ["--configfile", STUDY, "--cores", "1", TARGET]
        deployment = ["--software-deployment-method", *methods]
        subprocess.run(
            [sys.executable, "-m", "snakemake", *study, *deployment],
            cwd=checkout.folder,
            env={**os.environ, "PATH": f"{programs}:{os.defpath}"},
            check=True,
            capture_output=True,
        )
        assert (checkout.folder / TARGET).stat().st_size > 0
        return journal.read_text().splitlines()

    return run


def test_with_conda_jobs_run_in_the_environment_of_the_lock(deploy):
    calls = deploy("conda")
    (creation,) = (line for line in calls if "create" in line)
    assert any(line.startswith("activate ") for line in calls)
    environment = re.search(r"--file (\S+)", creation).group(1)
    assert "torch==2.13.0" in Path(environment).read_text()


def test_with_apptainer_that_environment_is_made_and_used_inside_of_the_image(deploy):
    calls = deploy("conda", "apptainer")
    inside = [line for line in calls if line.startswith("apptainer") and " exec " in line]
    assert any("docker://condaforge/miniforge3:" in line for line in calls if " pull " in line)
    assert any("create" in line for line in inside)
    (job,) = (line for line in inside if "write_config.py" in line)
    assert "activate" in job
    assert str(Path(sys.executable).parent) not in job


def test_every_rule_that_runs_a_script_names_the_environment():
    for file in RULES.glob("*.smk"):
        text = file.read_text()
        assert text.count("shell:") == text.count("conda:"), file.name
