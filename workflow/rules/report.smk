rule write_config:
    input:
        script=plan.script("write_config"),
        code=plan.code("write_config"),
    output:
        f"{RESULTS}/config.yaml",
    log:
        f"logs/{study.name}/config.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        config=plan.resolved_config(),
        format_version=plan.format_version,
    message:
        "Write out the settings of the study, defaults included"
    shell:
        "python {input.script} --config {params.config:q} --output {output:q} > {log:q} 2>&1"


rule write_report:
    input:
        script=plan.script("write_report"),
        code=plan.code("write_report"),
        captions=plan.captions(),
        template=plan.asset("gradbrain/figures/report.html.jinja"),
        config=f"{RESULTS}/config.yaml",
        claims=f"{RESULTS}/claims.csv",
        responses=expand(f"{RESULTS}/responses/{{subject}}.zarr", subject=plan.subjects),
        scores=plan.per_model("scores", "parquet"),
        figures=expand(f"{RESULTS}/figures/{{figure}}.png", figure=plan.figures),
    output:
        report(f"{RESULTS}/report.html", category="Report"),
    log:
        f"logs/{study.name}/report.log",
    benchmark:
        f"logs/{study.name}/report.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        study=study.name,
        format_version=plan.format_version,
    message:
        "Write the report"
    shell:
        "python {input.script} --study {params.study:q} --config {input.config:q}"
        " --claims {input.claims:q} --figures {input.figures:q} --captions {input.captions:q}"
        " --responses {input.responses:q} --scores {input.scores:q}"
        " --output {output:q} > {log:q} 2>&1"
