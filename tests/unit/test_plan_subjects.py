"""A study needs the files of the people it takes, and no others."""

from pathlib import Path

import pytest
from trees.algonauts import write_algonauts_tree

from gradbrain.config import GradbrainError
from gradbrain.config.study import load_study
from gradbrain.plan.jobs import Plan

ROOT = Path(__file__).resolve().parents[2]


def plan_of(*subjects, only=()):
    config = {
        "study": "mine",
        "datasets": [{"name": "algonauts2023", "subjects": list(subjects)}],
        "models": [{"name": "mobilenetv2_050_untrained"}],
        "features": {"signal_set": "demo"},
        "only_subjects": list(only),
    }
    return Plan(load_study(config, root=ROOT, where="mine.yaml"), ROOT)


def test_only_people_whom_the_study_takes_must_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_algonauts_tree(tmp_path / "data" / "algonauts2023", subjects=("subj02",))
    plan_of("algonauts2023-subj02").check()
    both = ("algonauts2023-subj01", "algonauts2023-subj02")
    plan_of(*both, only=["algonauts2023-subj02"]).check()
    with pytest.raises(GradbrainError, match="algonauts2023-subj01: 23 of 23 files are missing"):
        plan_of(*both).check()
