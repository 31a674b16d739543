rule compute_rsa:
    input:
        script=plan.script("compute_rsa"),
        code=plan.code("compute_rsa"),
        features=features_of_all_layers,
        responses=plan.path("responses"),
    output:
        plan.path("rsa"),
    log:
        f"logs/{study.name}/rsa/{{model}}/{{subject}}.log",
    benchmark:
        f"logs/{study.name}/rsa/{{model}}/{{subject}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=120,
    params:
        settings=plan.as_json(study.settings.rsa),
        study=study.name,
        format_version=plan.version("rsa"),
    message:
        "Compare the similarity structure of {wildcards.model} with that of {wildcards.subject}"
    shell:
        "python {input.script} --features {input.features:q} --responses {input.responses:q}"
        " --settings {params.settings:q} --study {params.study:q} --output {output:q} > {log:q} 2>&1"
