"""What all tests share."""

import os

# Tests run side by side, one per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption(
        "--slurm",
        action="store_true",
        help="start a Slurm on this machine for tests/slurm, as root; fail where there can be none",
    )
