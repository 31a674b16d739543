rule score_hierarchy:
    input:
        script=plan.script("score_hierarchy"),
        code=plan.code("score_hierarchy"),
        tables=encoding_tables,
        stores=encoding_stores,
        unique=unique_of_model,
    output:
        table=plan.path("hierarchy"),
        draws=directory(plan.path("hierarchy_draws")),
        times=plan.path("time_courses"),
    log:
        f"logs/{study.name}/hierarchy/{{model}}.log",
    benchmark:
        f"logs/{study.name}/hierarchy/{{model}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        fits=of(plan.fits, "model"),
        layers=of(plan.layers, "model"),
        subjects=plan.subjects,
        signal_set=of(plan.judged_signals, "model"),
        settings=as_it_is(plan.as_json(study.settings.statistics)),
        format_version=[
            plan.version(kind)
            for kind in ("hierarchy", "hierarchy_draws", "time_courses")
        ],
    message:
        "Summarise where and when the layers of {wildcards.model} show up"
    shell:
        "python {input.script} --fits {params.fits:q} --layers {params.layers:q}"
        " --subjects {params.subjects:q} --signal-set {params.signal_set:q}"
        " --unique {input.unique:q} --settings {params.settings:q}"
        " --output {output.table:q} --draws {output.draws:q} --times {output.times:q}"
        " > {log:q} 2>&1"


rule test_claims:
    input:
        script=plan.script("test_claims"),
        code=plan.code("test_claims"),
        tables=hierarchy_tables,
        draws=hierarchy_draws,
        scores=score_tables,
    output:
        table=report(
            plan.path("claims"),
            caption="../report/study/claims.rst",
            category="Claims",
            labels={"table": "All claims", "file": "CSV"},
        ),
        summary=plan.path("claims_page"),
        over_models=plan.path("claims_over_models"),
    log:
        f"logs/{study.name}/claims.log",
    benchmark:
        f"logs/{study.name}/claims.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(4000 + STATISTICS_MB * len(plan.models)),
        runtime=30,
    params:
        settings=as_it_is(plan.as_json(study.settings.statistics)),
        reliability=as_it_is(plan.settings_of("judge_reliability")),
        study=study.name,
        untrained=plan.untrained,
        format_version=(
            plan.version("claims"),
            plan.version("claims_page"),
            plan.version("claims_over_models"),
        ),
    message:
        "Test the predictions"
    shell:
        "python {input.script} --tables {input.tables:q} --draws {input.draws:q}"
        " --scores {input.scores:q} --settings {params.settings:q}"
        " --reliability {params.reliability:q} --study {params.study:q}"
        " --untrained {params.untrained:q}"
        " --output {output.table:q} --summary {output.summary:q}"
        " --over-models {output.over_models:q}"
        " > {log:q} 2>&1"


if plan.model_contrasts:

    rule compare_models:
        input:
            script=plan.script("compare_models"),
            code=plan.code("compare_models"),
            tables=compared_tables,
        output:
            table=plan.path("model_contrasts"),
            pairs=plan.path("model_pairs"),
            factors=plan.path("model_factors"),
        log:
            f"logs/{study.name}/model_contrasts.log",
        benchmark:
            f"logs/{study.name}/model_contrasts.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=memory(4000),
            runtime=60,
        params:
            options=as_it_is(plan.comparison_options()),
            contrasts=as_it_is(plan.as_json(study.settings.contrasts)),
            subjects=plan.subjects,
            settings=as_it_is(plan.as_json(study.settings.statistics)),
            reliability=as_it_is(plan.settings_of("judge_reliability")),
            study=study.name,
            format_version=[
                plan.version(kind)
                for kind in ("model_contrasts", "model_pairs", "model_factors")
            ],
        message:
            "Compare models that differ in one factor"
        shell:
            "python {input.script} {params.options} --contrasts {params.contrasts:q}"
            " --subjects {params.subjects:q} --settings {params.settings:q}"
            " --reliability {params.reliability:q} --study {params.study:q}"
            " --output {output.table:q} --pairs {output.pairs:q} --table {output.factors:q}"
            " > {log:q} 2>&1"
