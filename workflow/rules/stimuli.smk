def stimuli_entry(wildcards):
    return plan.as_json(plan.stimuli[wildcards.stimuli])


def stimuli_code(wildcards):
    return plan.code(
        "prepare_stimuli",
        f"gradbrain.datasets.{plan.stimuli[wildcards.stimuli].adapter}",
    )


def stimuli_data(wildcards):
    return f"data/{plan.stimuli[wildcards.stimuli].name}"


rule prepare_stimuli:
    input:
        script=plan.script("prepare_stimuli"),
        code=stimuli_code,
    output:
        "results/stimuli/{stimuli}.parquet",
    log:
        "logs/stimuli/{stimuli}.log",
    benchmark:
        "logs/stimuli/{stimuli}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        entry=stimuli_entry,
        data=stimuli_data,
        format_version=plan.format_version,
    message:
        "List the images of stimulus set {wildcards.stimuli}"
    shell:
        "{PYTHON} {input.script} --entry {params.entry:q} --stimuli {wildcards.stimuli}"
        " --data {params.data:q} --output {output:q} > {log:q} 2>&1"
