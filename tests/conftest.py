"""What all tests share."""

import os

# Tests run side by side, one per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from gradbrain.config.memory import keep_freed_memory

# As jobs do.
keep_freed_memory()

# Files that take longest, the dearest first, before all others: what starts last should be short,
# or one core waits for the other. In order of processor time, most of which is whole studies.
LONGEST = (
    "workflow/test_reruns.py",
    "workflow/test_worlds.py",
    "workflow/test_one_subject.py",
    "workflow/test_image_statistics.py",
    "workflow/test_plugins.py",
    "workflow/test_errors.py",
    "workflow/test_eeg.py",
    "workflow/test_nsd.py",
    "workflow/test_learning_rules.py",
    "workflow/test_multiverse.py",
    "workflow/test_things_meg.py",
    "workflow/test_stop.py",
    "workflow/test_interrupted.py",
    "workflow/test_reliability.py",
    "workflow/test_image_text.py",
    "workflow/test_paper_plan.py",
    "workflow/test_objective_targets.py",
)


def pytest_addoption(parser):
    parser.addoption(
        "--slurm",
        action="store_true",
        help="start a Slurm on this machine for tests/slurm, as root; fail where there can be none",
    )
    parser.addoption(
        "--browser",
        action="store_true",
        help="open a report in Chromium for tests/browser; fail where there is none",
    )
    parser.addoption("--page", help="report that tests/browser open, instead of an invented one")
    parser.addoption(
        "--readme",
        action="store_true",
        help="make the environment and the demo in a clean clone, and try README's commands in it",
    )


def pytest_collection_modifyitems(items):
    """Put the longest files first; the tests of a file keep their order."""
    place = {name: number for number, name in enumerate(LONGEST)}

    def rank(item):
        return place.get("/".join(item.path.parts[-2:]), len(place))

    items.sort(key=rank)
