"""The digest of the code behind a script: of what it imports, and of nothing else."""

from __future__ import annotations

from gradbrain.plan.code_inputs import code_digest


def test_the_digest_follows_the_modules_that_a_script_imports(tmp_path):
    library = tmp_path / "workflow"
    stage = library / "gradbrain" / "stage"
    stage.mkdir(parents=True)
    for package in (library / "gradbrain", stage):
        (package / "__init__.py").write_text("")
    script = tmp_path / "script.py"
    script.write_text("from gradbrain.stage import used\n")
    (stage / "used.py").write_text("X = 1\n")
    (stage / "other.py").write_text("X = 1\n")
    (stage / "by_name.py").write_text("X = 1\n")

    first = code_digest(script, library)
    (stage / "other.py").write_text("X = 2\n")
    assert code_digest(script, library) == first
    (stage / "used.py").write_text("X = 2\n")
    second = code_digest(script, library)
    assert second != first
    by_name = code_digest(script, library, ["gradbrain.stage.by_name"])
    assert by_name != second
    (stage / "by_name.py").write_text("X = 2\n")
    assert code_digest(script, library, ["gradbrain.stage.by_name"]) != by_name
