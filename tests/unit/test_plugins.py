"""Plug-ins: found by name, in the library and in folders, and read without being imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from gradbrain.config import GradbrainError
from gradbrain.config.plugins import (
    HOMES,
    LIBRARY_PLUGINS,
    Plugins,
    PluginUse,
    signal_needs,
    signal_uses,
)
from gradbrain.config.schema import SignalEntry

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVE = """
from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from gradbrain.config.plugins import PluginOptions, PluginUse
from gradbrain.objectives.base import BaseObjective
from gradbrain.objectives.views import ViewOptions

LARGEST = 3


class Options(PluginOptions):
    requires: ClassVar = frozenset({"calibration"})
    randomness: ClassVar = {"noise": "monte_carlo"}
    strength: int = Field(1, ge=0, le=LARGEST)
    views: ViewOptions = ViewOptions(n_views=5)

    def needs(self, inner=frozenset()):
        return super().needs(inner) | ({"labels"} if self.strength > 1 else frozenset())

    def uses(self) -> Sequence[PluginUse]:
        return [PluginUse("objectives", "dino", {})] if self.strength == 3 else []


class Head(nn.Module):
    pass


class Objective(BaseObjective):
    def evaluate(self, output, batch, targets):
        return output.sum(-1) * self.options.strength
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "objectives").mkdir()
    (tmp_path / "objectives" / "mine.py").write_text(OBJECTIVE)
    return tmp_path


def signal(**options):
    return SignalEntry(
        name="s", role="learning", rule="backprop", objective="mine", options=options
    )


def test_the_library_has_plug_ins_of_every_kind():
    for kind in HOMES:
        names = LIBRARY_PLUGINS.names(kind)
        assert len(names) >= 2, kind
        for name in names:
            LIBRARY_PLUGINS.find(kind, name, where="test").load()


def test_options_of_the_library_are_read_without_importing_a_heavy_package():
    code = (
        "import sys; sys.path.insert(0, 'workflow')\n"
        "from gradbrain.config.plugins import *\n"
        "for kind in HOMES:\n"
        "    for name in LIBRARY_PLUGINS.names(kind):\n"
        "        plugin = LIBRARY_PLUGINS.find(kind, name, where='test')\n"
        "        plugin.options_class if kind != 'figures' else plugin.literals()['INPUTS']\n"
        "print(sorted(HEAVY & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_plug_in_of_a_folder_is_found_read_and_loaded(folder):
    plugins = Plugins([folder])
    assert "mine" in plugins.names("objectives") and "dino" in plugins.names("objectives")
    plugin = plugins.find("objectives", "mine", where="test")
    assert plugin.options({"strength": 2}, where="test").views.n_views == 5
    assert not plugin.in_library
    assert plugin.load().Objective.__name__ == "Objective"
    # The same by its file alone, as jobs are told.
    alone = Plugins(files=[folder / "objectives" / "mine.py"])
    assert alone.find("objectives", "mine", where="test") == plugin


def test_what_a_signal_needs_follows_from_options_and_from_what_is_inside(folder):
    plugins = Plugins([folder])
    assert signal_needs(signal(), plugins) >= {"objective", "graph", "calibration"}
    assert "labels" not in signal_needs(signal(), plugins)
    assert "labels" in signal_needs(signal(strength=2), plugins)
    _, use = signal_uses(signal(strength=3), plugins, where="test")
    assert [plugin.name for plugin in use.plugins] == ["mine", "dino"]
    assert use.randomness == {"noise": "monte_carlo", "views": "monte_carlo"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strenght": 2}, "mine.yaml: objective: objective 'mine': strenght: unknown key. "
         "Known keys: strength, views"),
        ({"strength": 4}, "objective 'mine': strength: .*less than or equal to 3, found 4"),
        ({"views": {"n": 1}}, "objective 'mine': views.n: unknown key. Known keys: n_views"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told_with_the_allowed_ones(folder, options, message):
    with pytest.raises(GradbrainError, match=message):
        signal_uses(signal(**options), Plugins([folder]), where="mine.yaml")


def test_a_class_that_needs_more_than_its_source_is_imported(folder):
    file = folder / "objectives" / "heavy.py"
    text = OBJECTIVE.replace("Field(1, ge=0, le=LARGEST)", "Field(int(torch.ones(1)), ge=0)")
    file.write_text(text)
    plugin = Plugins([folder]).find("objectives", "heavy", where="test")
    assert plugin.options({}, where="test").strength == 1


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("objectives/dino.py", OBJECTIVE, "there is another objective 'dino' in .*dino.py"),
        ("objectives/broken.py", "def (", "broken.py: is not valid Python"),
        ("objectives/empty.py", "X = 1", "empty.py: lacks Options, Objective; a module of"),
        ("rules/fails.py", "import nothing_like_it\nOptions = Rule = 1", "fails.py: cannot be imp"),
    ],
)
def test_a_plug_in_that_cannot_be_taken_is_named_with_its_file(tmp_path, path, text, message):
    file = tmp_path / path
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(GradbrainError, match=message):
        Plugins([tmp_path]).find(file.parent.name, file.stem, where="test").load()


def test_folders_without_plug_ins_and_names_without_a_module_are_refused(tmp_path, folder):
    with pytest.raises(GradbrainError, match="plugins: there is no folder"):
        Plugins([tmp_path / "none"])
    (tmp_path / "other").mkdir()
    with pytest.raises(GradbrainError, match="holds none of the folders rules, objectives"):
        Plugins([tmp_path / "other"])
    with pytest.raises(GradbrainError, match=r"test: there is no objective 'min'\. Did you"):
        Plugins([folder]).find("objectives", "min", where="test")
    with pytest.raises(GradbrainError, match="a plug-in lies in a folder named after its kind"):
        Plugins(files=[tmp_path / "mine.py"])


def test_uses_inside_uses_are_resolved():
    options = {"objective": "dino", "options": {"views": {"n_views": 3}}}
    use = LIBRARY_PLUGINS.resolve(
        PluginUse("objectives", "shuffled_cotangent", options), where="test"
    )
    assert [plugin.name for plugin in use.plugins] == ["shuffled_cotangent", "dino"]
    assert use.inner[0].options.views.n_views == 3
