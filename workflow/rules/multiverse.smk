# One process fits all layers and subjects: hundreds of small jobs would spend their time on starting.
rule fit_universe:
    input:
        script=plan.script("fit_universe"),
        code=plan.code("fit_universe"),
        stores=of(plan.multiverse.fit_inputs, "fit", "model", "dataset"),
    output:
        table=plan.path("universe_hierarchy"),
        draws=directory(plan.path("universe_hierarchy_draws")),
        scores=plan.path("universe_scores"),
    log:
        f"logs/{study.name}/multiverse/fits/{{fit}}/{{dataset}}/{{model}}.log",
    benchmark:
        f"logs/{study.name}/multiverse/fits/{{fit}}/{{dataset}}/{{model}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=480,
    params:
        subjects=of(plan.multiverse.subject_options, "fit", "model", "dataset"),
        layers=of(plan.layers, "model"),
        signal_set=of(plan.multiverse.fit_signals, "fit"),
        settings=of(plan.multiverse.fit_settings, "fit"),
        statistics=as_it_is(plan.as_json(study.settings.statistics)),
        study=study.name,
        format_version=tuple(
            map(
                plan.version,
                ("universe_hierarchy", "universe_hierarchy_draws", "universe_scores"),
            )
        ),
    message:
        "Fit {wildcards.dataset} to {wildcards.model} under the choices {wildcards.fit}"
    shell:
        "python {input.script} {params.subjects} --layers {params.layers:q}"
        " --signal-set {params.signal_set:q} --settings {params.settings:q}"
        " --statistics {params.statistics:q} --study {params.study:q}"
        " --output {output.table:q} --draws {output.draws:q} --scores {output.scores:q} > {log:q} 2>&1"


rule test_universe:
    input:
        script=plan.script("test_claims"),
        code=plan.code("test_claims"),
        tables=universe_tables,
        draws=universe_draws,
        # Reliability is that of the study's own draws.
        scores=score_tables,
    output:
        table=plan.path("universe_claims"),
        summary=plan.path("universe_page"),
    log:
        f"logs/{study.name}/multiverse/claims/{{universe}}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        settings=of(plan.multiverse.universe_settings, "universe"),
        reliability=as_it_is(plan.settings_of("judge_reliability")),
        study=study.name,
        untrained=plan.untrained,
        format_version=(plan.version("universe_claims"), plan.version("universe_page")),
    message:
        "Test the predictions under the choices {wildcards.universe}"
    shell:
        "python {input.script} --tables {input.tables:q} --draws {input.draws:q}"
        " --scores {input.scores:q} --settings {params.settings:q}"
        " --reliability {params.reliability:q} --study {params.study:q}"
        " --untrained {params.untrained:q} --output {output.table:q} --summary {output.summary:q}"
        " > {log:q} 2>&1"


if plan.universes:

    rule collect_universes:
        input:
            script=plan.script("collect_universes"),
            code=plan.code("collect_universes"),
            claims=plan.multiverse.claims,
        output:
            universes=plan.path("universes"),
            claims=plan.path("specification_curve"),
        log:
            f"logs/{study.name}/multiverse/collect.log",
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=memory(4000),
            runtime=30,
        params:
            universes=as_it_is(plan.multiverse.described()),
            study=study.name,
            format_version=(
                plan.version("universes"),
                plan.version("specification_curve"),
            ),
        message:
            "Collect the claims of all universes"
        shell:
            # By a builtin of the shell, whose arguments may be of any length; a program's may not.
            "printf %s {params.universes:q} | python {input.script}"
            " --universes {output.universes:q} --output {output.claims:q} > {log:q} 2>&1"
