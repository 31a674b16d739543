import ast
import json
import math
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from gradbrain.config import GradbrainError
from gradbrain.config.definition import feature_definition
from gradbrain.config.study import load_study
from gradbrain.plan.code_inputs import WITHOUT_BEARING, import_closure
from gradbrain.plan.command_line import check_single_options
from gradbrain.plan.jobs import Plan
from gradbrain.plan.roots import link_root
from gradbrain.vocabulary.artefacts import ARTEFACTS, columns_of

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow"
STAGES = ("datasets", "models", "objectives", "signals", "encoding", "rsa", "hierarchy", "figures")
# Extraction is one stage of three packages, and reads images with the readers of datasets.
EXTRACTION = ("models", "objectives", "signals")
FOUNDATION = ("config", "vocabulary", "store")


def imports_of(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.startswith("gradbrain.")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_the_foundation_and_itself_and_no_other_stage(stage):
    own = EXTRACTION if stage in EXTRACTION else (stage,)
    files = list((LIBRARY / "gradbrain" / stage).rglob("*.py"))
    assert files
    for file in files:
        for name in imports_of(file):
            package = name.split(".")[1]
            images = stage in EXTRACTION and name.startswith("gradbrain.datasets.images")
            from_datasets = stage in EXTRACTION and name == "gradbrain.datasets"
            assert package in (*own, *FOUNDATION) or images or from_datasets, (
                f"{file.relative_to(ROOT)} imports {name}"
            )


def listed_names(file: Path) -> list[tuple[int, set[str]]]:
    """Line and content of every list or tuple of texts in a module."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.List | ast.Tuple):
            texts = [item.value for item in node.elts if isinstance(item, ast.Constant)]
            found.append((node.lineno, {text for text in texts if isinstance(text, str)}))
    return found


def test_columns_of_the_files_that_stages_exchange_stand_in_one_place():
    tables = [set(columns_of(kind)) for kind in ARTEFACTS if len(columns_of(kind)) > 5]
    assert len(tables) >= 8
    for file in (*(LIBRARY / "gradbrain").rglob("*.py"), *(ROOT / "scripts").glob("*.py")):
        for line, names in listed_names(file) if file.name != "artefacts.py" else []:
            for contract in tables:
                # Keys and what one figure shows are fewer.
                assert len(names & contract) < 0.8 * len(contract), f"{file}:{line}"


def test_paths_of_results_stand_in_one_place():
    """No rule and no module spells a path below results/ but the declarations."""
    spelled = re.compile(r"\"(\{?RESULTS\}?|results)/[^\"]*\.(zarr|parquet|csv|md|html|yaml)")
    rules = [ROOT / "Snakefile", *(LIBRARY / "rules").glob("*.smk")]
    for file in (*rules, *(LIBRARY / "gradbrain").rglob("*.py")):
        if file.name == "artefacts.py":
            continue
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            place = f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
            assert not spelled.search(line.partition("#")[0]), place


def test_paths_and_their_keys_lead_to_each_other():
    for declared in ARTEFACTS.values():
        keys = {key: f"a-{place}_b" for place, key in enumerate(declared.keys)}
        assert declared.keys_of(declared.path(**keys)) == keys
        assert declared.keys_of(declared.path()) == {key: f"{{{key}}}" for key in declared.keys}
    with pytest.raises(KeyError, match="has no key"):
        ARTEFACTS["claims"].path(model="m")
    with pytest.raises(ValueError, match="no path of features"):
        ARTEFACTS["features"].keys_of("results/features/m/l.zarr")


@pytest.mark.parametrize("foundation", FOUNDATION)
def test_the_foundation_imports_no_stage(foundation):
    for file in (LIBRARY / "gradbrain" / foundation).rglob("*.py"):
        packages = {name.split(".")[1] for name in imports_of(file)}
        assert not packages & set(STAGES), file


@pytest.fixture
def package(tmp_path):
    library = tmp_path / "workflow"
    for name, text in {
        "gradbrain/__init__.py": "",
        "gradbrain/stage/__init__.py": "",
        "gradbrain/stage/a.py": "from gradbrain.stage import b\n",
        "gradbrain/stage/b.py": "import gradbrain.store\n",
        "gradbrain/stage/unused.py": "raise RuntimeError('must not be imported')\n",
        "gradbrain/stage/by_name.py": "import gradbrain.stage.c\n",
        "gradbrain/stage/c.py": "",
        "gradbrain/store/__init__.py": "",
        "script.py": "def main():\n    from gradbrain.stage.a import x\n",
    }.items():
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text(text)
    return library


def closure(library, *modules):
    files = import_closure(library / "script.py", library, modules)
    return [str(file.relative_to(library)) for file in files]


def test_the_closure_follows_imports_and_leaves_out_the_foundation(package):
    stage = "gradbrain/stage"
    assert closure(package) == [
        "script.py",
        f"{stage}/__init__.py",
        f"{stage}/a.py",
        f"{stage}/b.py",
    ]


def test_modules_loaded_by_name_join_the_closure_with_what_they_import(package):
    found = closure(package, "gradbrain.stage.by_name")
    assert {"gradbrain/stage/by_name.py", "gradbrain/stage/c.py"} <= set(found)
    with pytest.raises(GradbrainError, match=r"there is no module gradbrain\.stage\.none"):
        closure(package, "gradbrain.stage.none")


def file_of(module: str) -> Path:
    return LIBRARY / f"{module.replace('.', '/')}.py"


def test_what_fetches_lists_or_reports_progress_is_no_input_of_any_job():
    for module in WITHOUT_BEARING:
        assert file_of(module).is_file()
    plan = plan_of("tiny_meg", "objects92")
    stimuli = plan.code("prepare_stimuli", "gradbrain.datasets.dissimilarity")
    responses = plan.code("prepare_responses", "gradbrain.datasets.dissimilarity")
    extraction = plan.extraction_code("tiny_a", "tiny")
    assert str(file_of("gradbrain.datasets.dissimilarity")) in stimuli
    assert str(file_of("gradbrain.signals.extraction")) in extraction
    without = {str(file_of(module)) for module in WITHOUT_BEARING}
    assert not without & {*stimuli, *responses, *extraction}


def test_the_reference_solver_is_an_input_of_the_fits_that_use_it_alone():
    plan, himalaya = plan_of(), "gradbrain.encoding.himalaya_reference"
    assert str(file_of(himalaya)) not in plan.code("fit_encoding")
    assert str(file_of(himalaya)) in plan.code("fit_encoding", himalaya)


def scripts_of_rules() -> list[Path]:
    """Command-line entries that jobs run; of others nobody asks for the closure."""
    rules = "".join(file.read_text() for file in (LIBRARY / "rules").glob("*.smk"))
    names = set(re.findall(r'plan\.script\("(\w+)"\)', rules))
    return [ROOT / "scripts" / f"{name}.py" for name in sorted(names)]


def test_the_closure_of_every_job_holds_what_it_really_imports():
    """Compare with the modules that Python itself loads when the script is imported."""
    import subprocess

    assert len(scripts_of_rules()) >= 10
    for script in scripts_of_rules():
        code = (
            f"import sys, runpy; sys.path.insert(0, {str(LIBRARY)!r}); "
            f"runpy.run_path({str(script)!r}, run_name='imported'); "
            "print('\\n'.join(m.__file__ for n, m in list(sys.modules.items()) "
            "if n.startswith('gradbrain.') and getattr(m, '__file__', None)))"
        )
        command = [sys.executable, "-c", code]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        loaded = {
            Path(line)
            for line in output.split()
            if not any(f"/gradbrain/{name}/" in line for name in (*FOUNDATION, "plan"))
        } - {file_of(module) for module in WITHOUT_BEARING}
        declared = set(import_closure(script, LIBRARY))
        assert loaded <= declared, f"{script.name}: {loaded - declared}"


def test_other_subjects_are_no_part_of_what_a_subjects_results_are_made_from(tmp_path):
    registry = tmp_path / "registry"
    shutil.copytree(ROOT / "tests" / "workflow" / "tiny", registry)
    config = yaml.safe_load((registry / "study.yaml").read_text())

    def plan_now():
        study = load_study(config | {"registries": [str(registry)]}, root=ROOT, where="test")
        return Plan(study, ROOT)

    before, datasets = plan_now(), registry / "datasets.yaml"
    datasets.write_text(datasets.read_text().replace("fmri-s2]", "fmri-s2, tiny_fmri-s3]"))
    after = plan_now()
    assert set(after.subjects) - set(before.subjects) == {"tiny_fmri-s3"}
    assert after.response_entry("tiny_fmri-s1") == before.response_entry("tiny_fmri-s1")
    assert after.stimuli_entry("tiny_fmri-s1") == before.stimuli_entry("tiny_fmri-s1")
    for plan in (before, after):
        assert "fmri-s3" not in plan.stimuli_determined_by("tiny_fmri-s1")
        assert "fmri-s2" not in plan.responses_determined_by("tiny_fmri-s1")
    # Who saw the same images may decide which images there are.
    assert "tiny_meg-s2" in after.stimuli_entry("tiny")
    assert "tiny_meg-s2" in after.stimuli_determined_by("tiny")


def plan_of(*datasets, registries=(), chosen=(), **changes):
    config = yaml.safe_load((ROOT / "tests/workflow/tiny/study.yaml").read_text())
    folders = [ROOT / "tests/workflow/tiny", *registries]
    config |= {"registries": [str(folder) for folder in folders]} | changes
    if datasets or chosen:
        config["datasets"] = [*({"name": name} for name in datasets), *chosen]
    return Plan(load_study(config, root=ROOT, where="study.yaml"), ROOT)


def test_subjects_are_ceilings_of_one_another_where_they_share_images_and_places():
    names = ["tiny_fmri", "tiny_meg", "objects92", "nsd", "things_fmri", "things_meg"]
    assert plan_of(*names).shared_datasets == ["tiny_meg", "things_meg"]
    # One alone has no others.
    assert plan_of("tiny_fmri").ceilings == []
    alone = [{"name": "tiny_meg", "subjects": ["tiny_meg-s1"]}]
    assert plan_of(chosen=alone).shared_datasets == []


def test_ceilings_between_subjects_speak_of_all_of_them():
    plan = plan_of("tiny_meg")
    assert plan.ceilings == ["results/tiny/ceilings/tiny_meg.parquet"]
    people = [f"results/tiny/responses/tiny_meg-s{number}.zarr" for number in (1, 2)]
    assert plan.responses_of("tiny_meg") == people
    assert plan_of("tiny_meg", only_models=["tiny_a"]).responses_of("tiny_meg") == people
    with pytest.raises(GradbrainError, match="only_subjects: ceilings between subjects"):
        plan_of("tiny_meg", only_subjects=["tiny_meg-s1"]).responses_of("tiny_meg")


def test_second_opinions_are_planned_where_they_are_asked_for():
    kinds = ("prediction_rsa", "rdm_hierarchy", "rdm_hierarchy_draws")
    plans = [plan_of("tiny_meg", rsa={"encoding": asked}) for asked in (False, True)]
    for asked, plan in zip((False, True), plans, strict=True):
        assert plan.second_opinions == ["results/tiny/second_opinions.csv"] * asked
        assert plan.rdm_ceilings == ["results/tiny/rdm_ceilings/tiny_meg.parquet"] * asked
        assert ("rsa_of_predictions" in plan.figures) == asked
        made = {path for kind in kinds[1:] for path in plan.per_model(kind)}
        assert made <= set(plan.targets()) if asked else not made & set(plan.targets())
    tables = plans[1].per_model("prediction_rsa")
    assert plans[1].figures.inputs("rsa_of_predictions") == {"prediction_rsa": tables}
    # Draws are those of the fits; the section's own are of similarities of features.
    assert set(json.loads(plans[1].settings_of("compare_predictions"))) == {
        "encoding",
        "max_images",
    }


def test_dissimilarities_are_compared_between_people_who_saw_the_same_images():
    names = ["tiny_fmri", "tiny_meg", "objects92", "nsd", "things_fmri", "things_meg"]
    found = plan_of(*names, rsa={"encoding": True}).rdm_ceilings
    # No places in common are needed (objects92), and images of one's own are none (nsd).
    assert [Path(path).stem for path in found] == [
        "tiny_meg", "objects92", "things_fmri", "things_meg"
    ]  # fmt: skip
    alone = [{"name": "tiny_meg", "subjects": ["tiny_meg-s1"]}]
    assert plan_of(chosen=alone, rsa={"encoding": True}).rdm_ceilings == []


def test_a_figure_of_second_opinions_that_is_named_without_them_is_refused():
    plan = plan_of("tiny_meg", figures={"names": ["rsa_of_predictions"]})
    with pytest.raises(GradbrainError, match=r"rsa_of_predictions.*rsa: \{encoding: true\}"):
        _ = plan.figures


def test_ceilings_depend_on_folds_and_on_which_targets_are_reliable_and_on_no_other_setting():
    settings = json.loads(plan_of().settings_of("compute_ceilings"))
    assert set(settings) == {"n_folds", "seed", "min_noise_ceiling"}


def test_reliability_is_measured_for_each_model_and_each_set_of_images_that_somebody_saw():
    plan = plan_of("tiny_fmri", "tiny_meg")
    assert [signal.name for signal in plan.uncertain_signals("tiny_a")] == [
        "gradient_dino",
        "gradient_shuffled_dino",
    ]
    assert plan.reliability("tiny_a") == [
        f"results/tiny/reliability/tiny_a/{stimuli}.parquet"
        for stimuli in ("tiny_fmri-s1", "tiny_fmri-s2", "tiny")
    ]
    assert set(plan.reliabilities) <= set(plan.targets())
    assert "signal_reliability" in plan.figures
    assert plan.figures.inputs("signal_reliability")["reliability"] == plan.reliabilities
    # Thresholds judge, and what is measured does not depend on them.
    assert set(json.loads(plan.settings_of("measure_reliability"))) == {
        "n_images", "max_training_images", "seed"
    }  # fmt: skip
    assert set(json.loads(plan.settings_of("judge_reliability"))) == {
        "threshold",
        "unique_threshold",
    }


def test_a_model_that_is_no_network_has_no_signal_to_measure():
    both = [{"name": "tiny_b", "layers": ["blocks.3"]}, {"name": "image_statistics"}]
    plan = plan_of("tiny_meg", models=both)
    assert plan.reliability("image_statistics") == []
    assert plan.reliabilities == ["results/tiny/reliability/tiny_b/tiny.parquet"]
    alone = plan_of("tiny_meg", models=both[1:])
    assert alone.reliabilities == [] and "signal_reliability" not in alone.figures


def test_nothing_is_measured_where_no_signal_depends_on_chance():
    plan = plan_of("tiny_meg", features={"signal_set": "tiny_planted"})
    assert not any(map(plan.uncertain_signals, plan.models)) and plan.reliabilities == []
    assert "signal_reliability" not in plan.figures


def test_registries_that_a_study_adds_are_no_part_of_how_shared_stimuli_are_made(tmp_path):
    (tmp_path / "datasets.yaml").write_text("datasets: {}\n")
    for plan in (plan_of("tiny_meg", "objects92"), plan_of("objects92", registries=[tmp_path])):
        # What arrives by itself is looked up where it is listed, and nowhere else.
        assert plan.stimuli_registries("objects92") == [str(ROOT / "config")]
    assert plan_of("tiny_meg").stimuli_registries("tiny") == []


def test_data_that_was_lost_is_asked_for_unless_a_job_fetches_it_or_none_reads_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    plan = plan_of("objects92", only_subjects=["objects92-s01"])
    plan.check()
    # The table comes with the data: where it is there, no job fetches them.
    table = Path("results/stimuli/objects92.parquet")
    table.parent.mkdir(parents=True)
    table.touch()
    command = "python scripts/fetch_dataset.py objects92 --registry"
    made = [
        Path(f"results/features/{model}/{layer}/{signal_set}/objects92.zarr")
        for model, signal_set, layer, _ in plan.all_features()
    ]
    assert len(made) == 3
    made.append(Path("results/tiny/responses/objects92-s01.zarr"))
    for path in made:
        with pytest.raises(GradbrainError, match=f"data/objects92 is missing(.|\\n)*{command}"):
            plan.check()
        path.mkdir(parents=True)
    plan.check()


@pytest.mark.parametrize("signal_set", ["tiny", "tiny_planted"])
def test_features_of_another_precision_are_refused_and_not_remade(
    tmp_path, monkeypatch, signal_set
):
    monkeypatch.chdir(tmp_path)
    plan = plan_of("tiny_meg")
    model, _, layer, stimuli = next(key for key in plan.all_features() if key[1] == signal_set)
    store = Path(plan.features(model, layer, signal_set, stimuli))
    store.mkdir(parents=True)
    definition = feature_definition(
        plan.model_entry(model), plan.signal_set(signal_set), plan.plugins
    )
    attributes = {"definition": definition, "precision": "bf16"}
    (store / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    with pytest.raises(GradbrainError) as refused:
        plan.check()
    folder = f"results/features/{model}/*/{signal_set}"
    assert f"features.precision is 'fp32', but {folder}/ was made with 'bf16'" in str(refused.value)
    assert str(refused.value).endswith(f"rm -r {folder}")
    plan_of("tiny_meg", features={"signal_set": "tiny", "precision": "bf16"}).check()


def test_roots_are_links_and_a_folder_of_its_own_is_never_replaced(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    data = tmp_path / "data"
    made = []
    for target in ("first", "first", "second"):
        made.append(link_root("set", str(tmp_path / target), data, "config.yaml"))
        assert (data / "set").resolve() == tmp_path / target
    assert made == [data / "set", None, data / "set"]
    with pytest.raises(GradbrainError, match=r"config\.yaml: roots\.set: there is no folder"):
        link_root("set", str(tmp_path / "none"), data, "config.yaml")
    (data / "own").mkdir()
    with pytest.raises(GradbrainError, match="is a folder of its own"):
        link_root("own", str(tmp_path / "first"), data, "config.yaml")


def test_a_fit_asks_for_memory_by_the_size_of_its_responses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((ROOT / "tests/workflow/tiny/study.yaml").read_text())
    config["registries"] = [str(ROOT / folder) for folder in config["registries"]]
    plan = Plan(load_study(config, root=ROOT, where="study.yaml"), ROOT)
    before = plan.memory.of_fit("tiny_fmri-s1")
    # 10,000 images and 40,000 targets of four bytes, of which nothing is written but the shape.
    folder = tmp_path / "results/tiny/responses/tiny_fmri-s1.zarr/response"
    folder.mkdir(parents=True)
    (folder / "zarr.json").write_text(json.dumps({"shape": [10000, 40000]}))
    assert plan.memory.of_fit("tiny_fmri-s1") == before + math.ceil(5.5 * 1525.88)
    assert plan.memory.of_fit("tiny_fmri-s2") == before


@pytest.mark.parametrize(
    "second", [["--config", "only_layers=[b]"], ["--config=only_layers=[b]"], ["-C", "a=b"]]
)
def test_a_second_config_option_is_refused_as_it_would_replace_the_first(second):
    first = ["snakemake", "--configfile", "mine.yaml", "--config", "only_models=[a]", "x=y"]
    check_single_options([*first, "--slurm-args=--config", "--cores", "1"])
    with pytest.raises(GradbrainError, match="several keys behind one --config"):
        check_single_options([*first, *second])


def test_what_a_study_of_one_subject_cannot_say_is_told_before_any_job():
    alone = plan_of(
        chosen=[{"name": "tiny_meg", "subjects": ["tiny_meg-s1"]}],
        models=[{"name": "tiny_a", "layers": ["blocks.1"]}],
    )
    said = "\n".join(alone.notices())
    assert "'tiny_meg' has one subject: its claims speak of this person alone" in said
    assert "permuted images reach no p below 0.091" in said
    assert "'tiny_a' has one layer here" in said
    assert "A1 speaks of pretrained models: of tiny_a, untrained" in said
    assert "tiny_fmri" not in said
    two = "\n".join(plan_of("tiny_meg").notices())
    assert "'tiny_meg' has 2 subjects, statistics.min_subjects is 6" in two
    assert "their order in time (A1, P4) takes 3" in two
    assert plan_of("tiny_meg", only_models=["tiny_a"]).notices() == []


def test_a_study_that_can_say_everything_is_told_nothing(tmp_path):
    layers = ["blocks.1", "blocks.3", "blocks.5"]
    plan = plan_of(
        "objects92",
        models=[{"name": "dinov3_large", "layers": "all"}],
        encoding={"n_draws": 100},
    )
    assert plan.notices() == []
    (tmp_path / "signals.yaml").write_text(
        "signal_sets: {plain: {signals: [activation, gradient_dino], pooling: {kind: mean}}}"
    )
    without = plan_of(
        "objects92",
        registries=[tmp_path],
        models=[{"name": "tiny_a", "layers": layers}],
        features={"signal_set": "plain"},
        encoding={"n_draws": 100},
    )
    assert any("no control of gradient_dino: C2 is not judged" in n for n in without.notices())


def entry_of(folder, name, **options):
    """Registry with a data set of arrays that stands nowhere else."""
    entry = {
        "adapter": "arrays",
        "modality": "fmri",
        "subjects": [f"{name}-a", f"{name}-b"],
        "stimuli": name,
        "licence": "CC0",
        "options": {"table": "i.csv", "responses": "{id}.npy", "rows": "r.csv", "targets": "t.csv"}
        | options,
    }
    folder.mkdir(exist_ok=True)
    (folder / "datasets.yaml").write_text(yaml.safe_dump({"datasets": {name: entry}}))
    return folder


def test_one_region_is_told_before_any_job(tmp_path):
    plan = plan_of("mine", registries=[entry_of(tmp_path, "mine", roi_order=["V1"])])
    assert any("'mine' has one region, V1" in notice for notice in plan.notices())


def test_poles_that_share_a_region_are_refused(tmp_path):
    folder = entry_of(tmp_path, "mine", early_rois=["V1", "V2"], high_rois=["V2", "LO"])
    plan = plan_of("mine", registries=[folder])
    with pytest.raises(GradbrainError, match="early_rois and high_rois both name V2"):
        plan.adapter(plan.study.datasets["mine"])


def test_a_figure_without_its_caption_is_refused_whether_or_not_it_is_asked_for(tmp_path):
    own = tmp_path / "mine" / "figures"
    own.mkdir(parents=True)
    (own / "one_more.py").write_text(
        'TITLE = "One more"\nINPUTS = ("scores",)\nAXES = ("roi",)\nSPACES = ()\n'
        "def select(inputs): ...\ndef figure(data, names): ...\n"
    )
    for figures in ({}, {"figures": {"names": ["encoding_by_region"]}}):
        plan = plan_of(plugins=[str(tmp_path / "mine")], **figures)
        with pytest.raises(GradbrainError, match=r"no caption .*one_more\.rst"):
            _ = plan.figures


def test_modules_in_a_folder_of_registries_alone_are_told_of(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.py").write_text("")
    (said,) = (n for n in plan_of(registries=[tmp_path]).notices() if "modules" in n)
    assert (
        f"has modules in figures/, which `registries` does not read: name the folder under "
        f"`plugins: [{tmp_path}]`" in said
    )
