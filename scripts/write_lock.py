"""Write the lock and the conda environment from the packages installed beside this interpreter."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import cli
from gradbrain.store import write_text

ENVS = Path(__file__).resolve().parents[1] / "envs"
LOCK_HEADER = """\
# The lock: every package of the study's environment, for Python >= 3.11.
# Made in a fresh virtual environment with `make lock`: the packages named in
# envs/packages.txt are installed, then frozen without local version tags, so that
# `torch==2.13.0` takes whichever build (CPU or CUDA) the machine's index offers.
"""
CONDA_HEADER = """\
# The same pins as envs/requirements.txt, for `snakemake --software-deployment-method conda`.
# Written by `make lock`; a test compares the two.
name: gradbrain
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def installed_pins() -> list[str]:
    # What is installed from this checkout has no pin.
    left_out = ("pip", "setuptools", "gradbrain", "torchvision-operators")
    command = [sys.executable, "-m", "pip", "freeze"]
    command += [word for name in left_out for word in ("--exclude", name)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    # A local version tag (+cpu) or a build hash names a file that other machines do not have.
    return sorted((re.sub(r"\+[a-z0-9.]+$", "", line) for line in lines), key=str.lower)


def parser() -> argparse.ArgumentParser:
    """Describe the command line, which has no options."""
    return argparse.ArgumentParser(description=__doc__)


def main(argv: list[str] | None = None) -> None:
    parser().parse_args(argv)
    pins = installed_pins()
    write_text(ENVS / "requirements.txt", LOCK_HEADER + "".join(f"{pin}\n" for pin in pins))
    write_text(
        ENVS / "environment.yaml", CONDA_HEADER + "".join(f"      - {pin}\n" for pin in pins)
    )


if __name__ == "__main__":
    cli.run(main)
