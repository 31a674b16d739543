"""Claims about what a task of a Slurm job array runs, without a Slurm."""

import base64
import importlib.util
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "profiles" / "slurm" / "array_task.py"


@pytest.fixture(scope="module")
def array_task():
    spec = importlib.util.spec_from_file_location("array_task", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def payload(commands):
    packed = {task: zlib.compress(text.encode(), level=9).hex() for task, text in commands.items()}
    return base64.b64encode(json.dumps(packed).encode()).decode()


# As sbatch writes it for --wrap, and as the plugin passes it where the call would be too long.
FORMS = {
    "wrapped": "#!/bin/sh\n# made by sbatch\n\n{base} --slurm-jobstep-array-execs={payload}\n",
    "quoted": "#!/bin/sh\n{base} --slurm-jobstep-array-execs='{payload}'\n",
    "script": "#!/bin/sh\n{base}\n--slurm-jobstep-array-execs\n{payload}",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_task_runs_its_own_command(array_task, form):
    script = FORMS[form].format(base="run first", payload=payload({"2": "run 2", "7": "run 7"}))
    commands = {
        task: array_task.task_command(script, task=task, first="1") for task in ("1", "2", "7")
    }
    assert commands["2"] == "run 2"
    assert commands["7"] == "run 7"
    assert commands["1"].splitlines()[-1].strip() == "run first"
    assert "array-execs" not in commands["1"]


def test_a_script_of_another_form_is_refused_with_what_to_do(array_task):
    with pytest.raises(ValueError, match="take slurm-array-jobs and precommand out of profiles"):
        array_task.task_command("#!/bin/sh\nsomething else\n", task="2", first="1")


def test_a_task_that_the_array_does_not_have_is_refused(array_task):
    script = FORMS["wrapped"].format(base="run first", payload=payload({"2": "run 2"}))
    with pytest.raises(ValueError, match="no task 3; it has 2"):
        array_task.task_command(script, task="3", first="1")


@pytest.mark.parametrize(("task", "printed"), [("1", "first"), ("2", "second"), (None, "first")])
def test_the_batch_script_runs_the_command_of_its_task_alone(tmp_path, task, printed):
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && {{ echo "$3"; exit 0; }}\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    base = ". profiles/slurm/array_task.sh && {python} -m snakemake {text}"
    second = base.format(python=python, text="second")
    # Longer than what Linux takes as one argument.
    many = {str(index): os.urandom(2000).hex() for index in range(3, 80)}
    script = tmp_path / "slurm_script"
    script.write_text(
        FORMS["wrapped"].format(
            base=base.format(python=python, text="first"),
            payload=payload({"2": second} | (many if task else {})),
        )
    )
    environment = {"PATH": os.defpath}
    if task is not None:
        environment |= {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MIN": "1"}
    done = subprocess.run(
        ["/bin/sh", str(script)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{printed}\n", "")
