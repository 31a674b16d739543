import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "workflow"))

from gradbrain.config import GradbrainError
from gradbrain.config.memory import collect_rarely
from gradbrain.config.study import load_study
from gradbrain.config.yaml_files import read_yaml
from gradbrain.figures.declarations import FORMATS
from gradbrain.plan.checks import StudyChecks
from gradbrain.plan.command_line import asked_of, check_single_options, check_targets
from gradbrain.plan.interpreter import shell_prefix
from gradbrain.plan.jobs import Plan
from gradbrain.plan.scheduling import look_when_needed
from gradbrain.plan.stopping import end_when_asked

collect_rarely()
end_when_asked()
look_when_needed()

# --configfile replaces the default study: Snakemake would merge the two, key by key.
if not workflow.overwrite_configfiles:

    configfile: str(ROOT / "config" / "config.yaml")


CONFIG_FILE = (
    workflow.overwrite_configfiles[-1]
    if workflow.overwrite_configfiles
    else "config/config.yaml"
)
# With --software-deployment-method, jobs run in an environment of their own.
OWN_ENVIRONMENT = bool(
    {"conda", "apptainer"}
    & {str(method) for method in workflow.deployment_settings.deployment_method}
)
# The code is named relative to where Snakemake runs, so that a moved checkout reruns nothing.
CODE_ROOT = Path() if ROOT == Path.cwd() else ROOT

try:
    if workflow.is_main_process:
        check_single_options(sys.argv)
        # Snakemake has read it already: it takes the last of two keys without a word.
        for file in map(Path, workflow.overwrite_configfiles):
            if file.suffix != ".json":
                read_yaml(file)
    study = load_study(
        config,
        root=ROOT,
        where=str(CONFIG_FILE),
        overrides=workflow.config_settings.config,
    )
    plan = Plan(study, CODE_ROOT)
    checks = StudyChecks(plan)
    checks.roots()
    for link in checks.link_roots():
        print(f"{link} -> {link.readlink()}", file=sys.stderr)
    # Jobs of an executor read the Snakefile again; thousands of them need not check the study.
    if workflow.is_main_process:
        checks.run(packages=not OWN_ENVIRONMENT)
        if not OWN_ENVIRONMENT:
            checks.checkpoints()
        for notice in plan.notices():
            print(f"notice: {notice}", file=sys.stderr)
except GradbrainError as error:
    raise WorkflowError(str(error))

if not OWN_ENVIRONMENT:
    shell.prefix(shell_prefix())


# For `--software-deployment-method conda apptainer`: where environments are made and run.
container: "docker://condaforge/miniforge3:25.11.0-0"


RESULTS = plan.results


# For `snakemake --report`: the page that opens first.
report: "workflow/report/study/workflow.rst"


wildcard_constraints:
    model=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    layer=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    signal=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    signal_set=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    calibration=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    stimuli=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    subject="|".join(map(re.escape, plan.study.subjects)),
    dataset="|".join(map(re.escape, plan.study.datasets)),
    figure="|".join(map(re.escape, plan.figures)) or "none",
    fit="|".join(plan.multiverse.fits) or "none",
    universe="|".join(plan.multiverse.by_name) or "none",


localrules:
    all,
    features,
    encoding,
    scores,
    maps,
    claims,
    multiverse,
    figures,
    report,


include: "workflow/rules/inputs.smk"


rule all:
    default_target: True
    input:
        plan.targets(),


rule features:
    input:
        plan.feature_targets(),


rule encoding:
    input:
        plan.encoding_targets(),


rule scores:
    input:
        plan.per_model("scores"),


rule maps:
    input:
        plan.per_model("maps"),


rule claims:
    input:
        plan.path("claims"),


rule multiverse:
    input:
        plan.multiverse.results,


rule figures:
    input:
        [reported_figures(ending) for ending in FORMATS],


rule report:
    input:
        plan.path("report"),


include: "workflow/rules/fetch.smk"
include: "workflow/rules/stimuli.smk"
include: "workflow/rules/responses.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/encoding.smk"
include: "workflow/rules/rsa.smk"
include: "workflow/rules/hierarchy.smk"
include: "workflow/rules/multiverse.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


try:
    if workflow.is_main_process:
        check_targets(
            asked_of(sys.argv), workflow.rules, plan.check_result, plan.results_by_path
        )
except GradbrainError as error:
    raise WorkflowError(str(error))


onsuccess:
    print(f"\nDone. Results of study {study.name!r}: {RESULTS}/")
    if Path(plan.path("report")).exists():
        print(f"  report   {plan.path('report')}")
        print(f"  claims   {plan.path('claims_page')}")
        print(f"  figures  {RESULTS}/figures/")
    # Reads tables with pandas, which planning does without.
    from gradbrain.encoding.grid_edge import edge_note

    tables = [Path(path) for path in plan.per_model("scores")]
    note = edge_note(path for path in tables if path.exists())
    if note:
        print(f"  note     {note}")
