rule compute_rsa:
    input:
        script=plan.script("compute_rsa"),
        code=plan.code("compute_rsa"),
        features=of(plan.features_for_subject, "model", "subject"),
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
        settings=as_it_is(plan.settings_of("compute_rsa")),
        study=study.name,
        format_version=plan.version("rsa"),
    message:
        "Compare the similarity structure of {wildcards.model} with that of {wildcards.subject}"
    shell:
        "python {input.script} --features {input.features:q} --responses {input.responses:q}"
        " --settings {params.settings:q} --study {params.study:q} --output {output:q} > {log:q} 2>&1"


if plan.fused_datasets:

    rule fuse_space_and_time:
        input:
            script=plan.script("fuse_space_and_time"),
            code=plan.code("fuse_space_and_time"),
            features=of(plan.features_of_fused, "model"),
            responses=fused_responses,
        output:
            plan.path("fusion"),
        log:
            f"logs/{study.name}/fusion/{{model}}.log",
        benchmark:
            f"logs/{study.name}/fusion/{{model}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=memory(16000),
            runtime=240,
        params:
            pairs=fused_pairs,
            settings=as_it_is(plan.settings_of("compute_rsa")),
            study=study.name,
            format_version=plan.version("fusion"),
        message:
            "Fuse regions and times by their similarity structure, through {wildcards.model}"
        shell:
            "python {input.script} {params.pairs} --settings {params.settings:q}"
            " --study {params.study:q} --output {output:q} > {log:q} 2>&1"


if study.settings.rsa.encoding:

    rule compute_rdm_ceilings:
        input:
            script=plan.script("compute_rdm_ceilings"),
            code=plan.code("compute_rdm_ceilings"),
            responses=of(plan.responses_of, "dataset"),
        output:
            plan.path("rdm_ceilings"),
        log:
            f"logs/{study.name}/rdm_ceilings/{{dataset}}.log",
        benchmark:
            f"logs/{study.name}/rdm_ceilings/{{dataset}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=ceiling_memory,
            runtime=120,
        params:
            settings=as_it_is(plan.settings_of("compute_ceilings")),
            rsa=as_it_is(plan.settings_of("compare_predictions")),
            study=study.name,
            format_version=plan.version("rdm_ceilings"),
        message:
            "Compare the similarity structures of the subjects of {wildcards.dataset}"
        shell:
            "python {input.script} --responses {input.responses:q} --settings {params.settings:q}"
            " --rsa {params.rsa:q} --study {params.study:q} --output {output:q} > {log:q} 2>&1"

    rule score_rdms:
        input:
            script=plan.script("score_rdms"),
            code=plan.code("score_rdms"),
            tables=encoding_tables,
            stores=encoding_stores,
            ceilings=plan.rdm_ceilings,
        output:
            scores=plan.path("prediction_rsa"),
            table=plan.path("rdm_hierarchy"),
            draws=directory(plan.path("rdm_hierarchy_draws")),
        log:
            f"logs/{study.name}/rdm_hierarchy/{{model}}.log",
        benchmark:
            f"logs/{study.name}/rdm_hierarchy/{{model}}.benchmark.tsv"
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
                for kind in ("prediction_rsa", "rdm_hierarchy", "rdm_hierarchy_draws")
            ],
        message:
            "Summarise the similarity structure of what {wildcards.model} predicts"
        shell:
            "python {input.script} --fits {params.fits:q} --layers {params.layers:q}"
            " --subjects {params.subjects:q} --signal-set {params.signal_set:q}"
            " --ceilings {input.ceilings:q} --settings {params.settings:q}"
            " --table {output.scores:q} --output {output.table:q} --draws {output.draws:q}"
            " > {log:q} 2>&1"

    # Reads the verdicts, and is no input of what makes them.
    rule test_second_opinions:
        input:
            script=plan.script("test_second_opinions"),
            code=plan.code("test_second_opinions"),
            claims=plan.path("claims"),
            tables=rdm_tables,
            draws=rdm_draws,
            scores=score_tables,
        output:
            table=plan.path("second_opinions"),
            summary=plan.path("second_page"),
        log:
            f"logs/{study.name}/second_opinions.log",
        benchmark:
            f"logs/{study.name}/second_opinions.benchmark.tsv"
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
                plan.version("second_opinions"),
                plan.version("second_page"),
            ),
        message:
            "Test the predictions by the similarity structure of what is predicted"
        shell:
            "python {input.script} --claims {input.claims:q} --tables {input.tables:q}"
            " --draws {input.draws:q} --scores {input.scores:q} --settings {params.settings:q}"
            " --reliability {params.reliability:q} --study {params.study:q}"
            " --untrained {params.untrained:q} --output {output.table:q}"
            " --summary {output.summary:q} > {log:q} 2>&1"
