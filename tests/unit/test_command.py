"""The command ``gradbrain``: it lists, shows and says whether a machine is ready."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from gradbrain import __version__
from gradbrain.command import doctor, entry
from gradbrain.command.catalogue import KINDS, Catalogue
from gradbrain.config import GradbrainError, cli
from gradbrain.config.plugins import LIBRARY_PLUGINS
from gradbrain.config.registries import Registries
from gradbrain.config.study import load_study
from gradbrain.vocabulary.artefacts import ARTEFACTS

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Catalogue(Registries([ROOT / "config"]), LIBRARY_PLUGINS)


def output_of(capsys, *words: str) -> str:
    entry.command(list(words))
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_kind_are_listed_and_each_can_be_shown(kind):
    rows = CATALOGUE.rows(kind)
    assert rows
    assert [row["name"] for row in rows] == CATALOGUE.names(kind)
    assert len({tuple(row) for row in rows}) == 1
    for name in CATALOGUE.names(kind):
        details = CATALOGUE.details(kind, name)
        assert name in (details.get("name"), details.get("kind"))
        assert yaml.safe_load(yaml.safe_dump(details)) == details


def test_lists_are_tables_or_json(capsys):
    table = output_of(capsys, "models").splitlines()
    rows = json.loads(output_of(capsys, "models", "--json"))
    assert len(table) == len(rows) + 1
    assert table[0].split() == list(rows[0])


def test_one_is_shown_as_yaml_with_what_its_registry_says(capsys):
    shown = yaml.safe_load(output_of(capsys, "models", "mobilenetv2_100_imagenet1k"))
    assert shown["architecture"] == "mobilenetv2_100"
    assert shown["layers"] == [f"blocks.{i}" for i in range(7)]
    assert shown["listed_in"].endswith("config/models.yaml")
    seed = yaml.safe_load(output_of(capsys, "models", "mobilenetv2_050_untrained"))
    assert seed["weights"] == {"source": "random", "seed": 0}
    objective = yaml.safe_load(output_of(capsys, "objectives", "dino"))
    assert objective["options"]["views"]["meaning"]
    columns = yaml.safe_load(output_of(capsys, "artefacts", "scores"))["columns"]
    assert [column["name"] for column in columns] == list(ARTEFACTS["scores"].column_names)


def test_an_unknown_name_is_answered_with_near_ones(capsys):
    with pytest.raises(GradbrainError, match="Did you mean 'dino'"):
        entry.command(["objectives", "dinno"])
    with pytest.raises(SystemExit):
        entry.command(["modles"])
    assert "models" in capsys.readouterr().err


def test_results_are_explained_where_there_is_no_project(capsys, monkeypatch):
    def no_project():
        raise GradbrainError("no project")

    monkeypatch.setattr(entry, "project", no_project)
    assert yaml.safe_load(output_of(capsys, "artefacts", "claims"))["rule"] == "test_claims"
    with pytest.raises(GradbrainError, match="no project"):
        entry.command(["models"])


def test_reading_the_command_line_imports_nothing_heavy():
    code = (
        "import sys, gradbrain.command.entry; print({'torch', 'pandas', 'zarr'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"


def test_entries_and_plugins_of_a_study_are_listed_too(capsys, tmp_path):
    (tmp_path / "mine" / "objectives").mkdir(parents=True)
    source = (ROOT / "workflow" / "gradbrain" / "objectives" / "entropy.py").read_text()
    (tmp_path / "mine" / "objectives" / "my_entropy.py").write_text(source)
    registry = {"modalities": {"pupil": {"axis": "time", "label": "pupil", "sensors": "eyes"}}}
    (tmp_path / "mine" / "modalities.yaml").write_text(yaml.safe_dump(registry))
    study = {"registries": [str(tmp_path / "mine")], "plugins": [str(tmp_path / "mine")]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    given = ("--configfile", str(tmp_path / "study.yaml"))
    assert "my_entropy" in output_of(capsys, "objectives", *given)
    assert "pupil" in output_of(capsys, "modalities", *given)
    assert "my_entropy" not in output_of(capsys, "objectives")


def test_every_script_ends_in_the_same_way_and_says_its_version(capsys):
    for script in (ROOT / "scripts").glob("*.py"):
        calls = [ast.unparse(node) for node in ast.walk(ast.parse(script.read_text()))
                 if isinstance(node, ast.Call)]  # fmt: skip
        assert any(re.match(r"(cli\.)?run\(main[,)]", call) for call in calls), script
    cli.run(lambda argv: pytest.fail("was run"), ["--version"])
    assert capsys.readouterr().out == f"gradbrain {__version__}\n"
    with pytest.raises(SystemExit):
        entry.command(["--version"])
    assert capsys.readouterr().out == f"gradbrain {__version__}\n"
    script = [sys.executable, str(ROOT / "scripts" / "write_config.py"), "--version"]
    said = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert said == f"gradbrain {__version__}\n"


def test_its_page_names_every_kind_and_every_group():
    page = (ROOT / "docs" / "command.md").read_text()
    for kind in KINDS:
        assert f"`{kind}`" in page
    for command in ("study", "doctor"):
        assert f"    gradbrain {command}" in page
    for group in ("environment", "gpu", "weights", "data", "disk", "memory"):
        assert f"\n| {group} |" in page


# --- doctor --------------------------------------------------------------------------------------


def study_of(tmp_path: Path, **changes):
    content = yaml.safe_load((ROOT / "config" / "config.yaml").read_text()) | changes
    return load_study(content, root=ROOT, where="study.yaml")


def of(found, group, what=""):
    return [item for item in found if item.group == group and what in item.what]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_quick_look_finds_the_default_study_ready(here):
    found = doctor.examine(ROOT, CATALOGUE, study=study_of(here))
    assert not [str(item) for item in found if item.state == doctor.FAULT]
    groups = {item.group for item in found}
    assert groups == {"environment", "gpu", "weights", "data", "disk", "memory"}
    assert not list(here.iterdir())


def test_what_a_study_lacks_is_a_fault_and_what_none_needs_a_note(here):
    lacking = study_of(
        here,
        datasets=[{"name": "nsd"}],
        models=[{"name": "mobilenetv2_100_imagenet1k", "layers": "all"}],
    )
    found = doctor.examine(ROOT, CATALOGUE, study=lacking)
    (weights,) = of(found, "weights")
    (data,) = of(found, "data")
    assert (weights.state, data.state) == (doctor.FAULT, doctor.FAULT)
    assert "data/weights/mobilenetv2_100-imagenet1k.safetensors" in weights.found
    assert "check_dataset.py nsd" in data.remedy
    of_all = doctor.examine(ROOT, CATALOGUE)
    assert {item.state for item in of(of_all, "data", "nsd")} == {doctor.NOTE}
    assert {item.state for item in of(of_all, "weights", "mobilenetv2_100_")} == {doctor.NOTE}


def test_weights_that_were_changed_are_found_by_the_full_look(here, monkeypatch):
    monkeypatch.setattr(doctor, "_imports", lambda full: [])
    monkeypatch.setattr(doctor, "_compute", lambda: [])
    file = here / "data" / "weights" / "mobilenetv2_100-imagenet1k.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not those")
    study = study_of(here, models=[{"name": "mobilenetv2_100_imagenet1k", "layers": "all"}])
    quick = doctor.examine(ROOT, CATALOGUE, study=study)
    full = doctor.examine(ROOT, CATALOGUE, study=study, full=True)
    assert [item.state for item in of(quick, "weights")] == [doctor.OK]
    assert [item.found for item in of(full, "weights")] == [
        "data/weights/mobilenetv2_100-imagenet1k.safetensors has another SHA-256"
    ]
    assert [item.state for item in of(full, "disk", "store")] == [doctor.OK]
    assert not list((here / "results").iterdir())


def test_packages_that_are_missing_or_of_another_version_are_named(tmp_path):
    (tmp_path / "envs").mkdir()
    pins = "# comment\nnumpy==0.0.1\nno-such-package==1.0\n"
    (tmp_path / "envs" / "requirements.txt").write_text(pins)
    found = [item for item in doctor._environment(tmp_path) if item.what == "lock"]
    assert [item.state for item in found] == [doctor.FAULT, doctor.NOTE]
    assert "no-such-package" in found[0].found
    assert "(lock: 0.0.1)" in found[1].found


def test_an_import_that_fails_is_told_by_its_last_line(monkeypatch):
    monkeypatch.setattr(doctor.sys, "executable", shutil.which("false"))
    found = list(doctor._imports(full=True))
    assert {item.state for item in found} == {doctor.FAULT}


def test_little_memory_and_little_disk_are_said(here, monkeypatch):
    machine = psutil.virtual_memory()._replace(available=2**30)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    assert of(doctor._memory(), "memory", "available")[0].state == doctor.NOTE
    assert {item.state for item in doctor._disk(full=False)} == {doctor.NOTE}


def test_a_cpu_build_beside_a_gpu_is_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, "_nvidia_smi", lambda: ["A GPU, 1.0, 1 MiB, 1 MiB"])
    monkeypatch.setattr(doctor, "_torch_build", lambda: "cpu")
    states = {item.what: item.state for item in doctor._gpus(full=False)}
    assert states == {"NVIDIA": doctor.OK, "torch": doctor.FAULT}


def test_faults_end_the_command_with_one(here, capsys, monkeypatch):
    bad = doctor.Finding(doctor.FAULT, "disk", "results", "full", "empty it")
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: [bad])
    with pytest.raises(SystemExit) as ended:
        entry.command(["doctor"])
    assert ended.value.code == 1
    assert capsys.readouterr().out == "fault  disk         results: full; empty it\n"
