# Sourced by every job before Snakemake starts (`precommand` of the profile).
# The plugin gives each task of an array the command of the first task, and those of all others as
# an argument of it. Left alone, each task starts Snakemake for the first task's job: it fails where
# that job's results are late, and removes them when it fails itself (issue 447 of
# snakemake-executor-plugin-slurm); and the argument outgrows what Linux takes at some 60 tasks.
# Here a task finds its own command in the batch script and runs that alone.
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ] && [ -z "${GRADBRAIN_ARRAY_TASK:-}" ]; then
    export GRADBRAIN_ARRAY_TASK="$SLURM_ARRAY_TASK_ID"
    # The interpreter that submitted, since a node may have no other.
    exec "$(grep -o '[^ ]* -m snakemake' "$0" | head -n 1 | cut -d ' ' -f 1)" \
        profiles/slurm/array_task.py "$0" "$SLURM_ARRAY_TASK_ID" "$SLURM_ARRAY_TASK_MIN"
fi
