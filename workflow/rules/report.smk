rule write_config:
    input:
        script=plan.script("write_config"),
        code=plan.code("write_config"),
    output:
        plan.path("config"),
    log:
        f"logs/{study.name}/config.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        config=as_it_is(plan.resolved_config()),
        format_version=plan.version("config"),
    message:
        "Write out the settings of the study, defaults included"
    shell:
        "python {input.script} --config {params.config:q} --output {output:q} > {log:q} 2>&1"


rule write_entries:
    input:
        script=plan.script("write_entries"),
        code=plan.code("write_entries"),
    output:
        plan.path("entries"),
    log:
        f"logs/{study.name}/entries.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        entries=as_it_is(plan.entries()),
        format_version=plan.version("entries"),
    message:
        "Write out labels, order and colours of what the study names"
    shell:
        "python {input.script} --entries {params.entries:q} --output {output:q} > {log:q} 2>&1"


rule write_report:
    input:
        script=plan.script("write_report"),
        code=plan.code("write_report"),
        captions=plan.captions(),
        template=plan.report_assets(),
        plugins=plan.plugin_files(*plan.figures.plugins()),
        config=plan.path("config"),
        entries=plan.path("entries"),
        claims=plan.path("claims"),
        responses=plan.responses,
        scores=plan.per_model("scores"),
        maps=plan.report_maps(),
        multiverse=plan.multiverse.results,
        second=plan.second_opinions,
        figures=reported_figures("png"),
        beside=[reported_figures("pdf"), reported_figures("csv")],
    output:
        report(
            plan.path("report"),
            caption="../report/study/report.rst",
            category="Report",
            labels={"page": "Report of the study", "file": "HTML"},
        ),
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
        multiverse=multiverse_options,
        second=second_option,
        format_version=plan.version("report"),
    message:
        "Write the report"
    shell:
        "python {input.script} --study {params.study:q} --config {input.config:q}"
        " --claims {input.claims:q} --figures {input.figures:q} --captions {input.captions:q}"
        " --responses {input.responses:q} --scores {input.scores:q}"
        " --maps {input.maps:q}"
        " {params.multiverse} {params.second} --entries {input.entries:q} --plugins {input.plugins:q} --output {output:q}"
        " > {log:q} 2>&1"
