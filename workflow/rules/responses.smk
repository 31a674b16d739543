rule prepare_responses:
    input:
        script=plan.script("prepare_responses"),
        code=response_code,
        plugins=response_plugins,
        stimuli=subject_stimuli,
        narrowing=images_and_folds,
        features=of(plan.planting_features, "subject"),
    output:
        directory(plan.path("responses")),
    log:
        f"logs/{study.name}/responses/{{subject}}.log",
    benchmark:
        f"logs/{study.name}/responses/{{subject}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=120,
    params:
        entry=response_entry,
        determined_by=of(plan.responses_determined_by, "subject"),
        data=response_data,
        narrowing=narrowing_options,
        registries=response_registries,
        format_version=plan.version("responses"),
    message:
        "Prepare the responses of {wildcards.subject}"
    shell:
        "python {input.script} --entry {params.entry:q} --subject {wildcards.subject}"
        " --stimuli {input.stimuli:q} {params.narrowing} --data {params.data:q}"
        " --features {input.features:q} --plugins {input.plugins:q}"
        " --registries {params.registries:q} --output {output:q}"
        " > {log:q} 2>&1"
