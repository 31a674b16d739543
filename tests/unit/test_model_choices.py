"""Models by patterns and lists: which are taken, with which layers, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gradbrain.config import GradbrainError
from gradbrain.config.model_choices import expand
from gradbrain.config.schema import LayerCount, ModelChoice

KNOWN = ("vit_tiny.dino", "vit_tiny.mae", "vit_huge.mae", "resnet18.a1_in1k", "resnet18_untrained")
COUNT = LayerCount(count=22)


def taken(*choices, known=KNOWN):
    found = expand(
        [ModelChoice.model_validate(one) for one in choices], known, where="study: models"
    )
    return [(one.name, one.layers) for one in found]


def test_a_pattern_takes_all_entries_that_match_in_their_order():
    assert taken({"pattern": "vit_*", "layers": {"count": 22}}) == [
        ("vit_tiny.dino", COUNT),
        ("vit_tiny.mae", COUNT),
        ("vit_huge.mae", COUNT),
    ]


def test_what_was_named_before_keeps_its_layers():
    found = taken({"name": "vit_tiny.mae", "layers": ["blocks.1"]}, {"pattern": "*.mae"})
    assert found == [("vit_tiny.mae", ("blocks.1",)), ("vit_huge.mae", "all")]


def test_some_of_a_pattern_are_left_out():
    assert taken({"pattern": "vit_*", "leave_out": ["*huge*", "vit_tiny.dino"]}) == [
        ("vit_tiny.mae", "all")
    ]


def test_a_file_lists_names_and_patterns(tmp_path):
    path = tmp_path / "models.txt"
    path.write_text("# two families\nresnet18*  # and its untrained twin\n\nvit_tiny.mae\n")
    names = [name for name, _ in taken({"file": str(path)})]
    assert names == ["resnet18.a1_in1k", "resnet18_untrained", "vit_tiny.mae"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"pattern": "vit_smal*"}, r"study: models: pattern: no model matches 'vit_smal\*'; there"),
        ({"pattern": "tiny_vit*"}, r"no model matches 'tiny_vit\*'; .* scripts/add_models.py"),
        ({"pattern": "vit_tiny.man"}, "there is no model 'vit_tiny.man'. Did you mean"),
        ({"pattern": "vit_*", "leave_out": ["vit_*"]}, "leave_out leaves no model of 'vit_"),
        ({"pattern": "vit_*", "leave_out": ["resnet*"]}, "leave_out: no model matches 'resnet"),
        ({"file": "nowhere.txt"}, "file: there is no 'nowhere.txt'"),
    ],
)
def test_what_takes_nothing_is_named(choice, message):
    with pytest.raises(GradbrainError, match=message):
        taken(choice)


def test_a_line_that_names_nothing_is_named(tmp_path):
    path = tmp_path / "models.txt"
    path.write_text("resnet18*\nvit_tinny.mae\n")
    with pytest.raises(GradbrainError, match=r"models.txt, line 2: there is no model 'vit_tinny"):
        taken({"file": str(path)})
    path.write_text("# nothing yet\n")
    with pytest.raises(GradbrainError, match=r"models.txt: names no model"):
        taken({"file": str(path)})


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "expected one of name, pattern and file, found none"),
        ({"name": "a", "pattern": "b*"}, "found name and pattern"),
        ({"pattern": "b*", "layers": ["blocks.1"]}, "names of layers are those of one model"),
        ({"name": "a", "leave_out": ["b"]}, "leave_out: goes with pattern or file"),
    ],
)
def test_a_choice_says_which_models_it_is_of(choice, message):
    with pytest.raises(ValidationError, match=message):
        ModelChoice.model_validate(choice)
