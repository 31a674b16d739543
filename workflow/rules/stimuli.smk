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
        mem_mb=memory(4000),
        runtime=60,
    params:
        entry=stimuli_entry,
        determined_by=stimuli_determined_by,
        data=stimuli_data,
        registries=stimuli_registries,
        format_version=plan.format_version,
    message:
        "List the images of stimulus set {wildcards.stimuli}"
    shell:
        "python {input.script} --entry {params.entry:q} --stimuli {wildcards.stimuli}"
        " --data {params.data:q} --registries {params.registries:q} --output {output:q} > {log:q} 2>&1"
