rule prepare_stimuli:
    input:
        script=plan.script("prepare_stimuli"),
        code=stimuli_code,
        plugins=stimuli_plugins,
    output:
        plan.path("stimuli"),
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
        format_version=plan.version("stimuli"),
    message:
        "List the images of stimulus set {wildcards.stimuli}"
    shell:
        "python {input.script} --entry {params.entry:q} --stimuli {wildcards.stimuli}"
        " --data {params.data:q} --registries {params.registries:q}"
        " --plugins {input.plugins:q} --output {output:q} > {log:q} 2>&1"
