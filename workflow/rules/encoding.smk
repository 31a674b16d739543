# The device is a resource and not a parameter: no result depends on it.
ENCODING = study.settings.encoding
ENCODING_CODE = plan.code(
    "fit_encoding",
    *(
        ["gradbrain.encoding.himalaya_reference"]
        if ENCODING.solver == "himalaya"
        else []
    ),
)


if plan.reduces_activations:

    # The same for each layer of a model, and dearer than the fit of a layer.
    rule reduce_activations:
        input:
            script=plan.script("reduce_activations"),
            code=plan.code("reduce_activations"),
            features=of(plan.features_for_subject, "model", "subject"),
            responses=plan.path("responses"),
        output:
            directory(plan.path("baseline")),
        log:
            f"logs/{study.name}/baselines/{{model}}/{{subject}}.log",
        benchmark:
            f"logs/{study.name}/baselines/{{model}}/{{subject}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=reduction_memory,
            runtime=240,
        params:
            settings=as_it_is(plan.settings_of("reduce_activations")),
            format_version=plan.version("baseline"),
        message:
            "Reduce the activations of all layers of {wildcards.model} in the folds of {wildcards.subject}"
        shell:
            "python {input.script} --features {input.features:q} --responses {input.responses:q}"
            " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"


FITS = (
    "python {input.script} --features {input.features:q} --layers {params.layers:q}"
    " --responses {input.responses:q} {params.baseline} --nuisance {input.nuisance:q}"
    " --settings {params.settings:q} {params.rsa} --study {params.study:q}"
    " --device {resources.device} --output {output.stores:q} --table {output.tables:q} > {log:q} 2>&1"
)
# A section that fits know nothing of where it is not asked for.
RSA_OF_FITS = ""
if study.settings.rsa.encoding:
    RSA_OF_FITS = f"--rsa {shlex.quote(plan.settings_of('compare_predictions'))}"
FIT_GPUS = 1 if ENCODING.backend == "torch" and ENCODING.device != "cpu" else 0


if ENCODING.unit == "layer":

    rule fit_encoding:
        input:
            script=plan.script("fit_encoding"),
            code=ENCODING_CODE,
            features=of(plan.features_of_fit, "model", "layer", "subject"),
            baseline=of(plan.baseline, "model", "subject"),
            nuisance=of(plan.nuisance_of_fit, "subject"),
            responses=plan.path("responses"),
        output:
            stores=directory(plan.path("encoding")),
            tables=plan.path("fit_scores"),
        log:
            f"logs/{study.name}/encoding/{{model}}/{{layer}}/{{subject}}.log",
        benchmark:
            f"logs/{study.name}/encoding/{{model}}/{{layer}}/{{subject}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=fit_memory,
            runtime=240,
            gpu=FIT_GPUS,
            device=ENCODING.device,
        params:
            layers=layers_of_fits,
            settings=as_it_is(plan.settings_of("fit_encoding")),
            baseline=baseline_option,
            rsa=as_it_is(RSA_OF_FITS),
            study=study.name,
            format_version=(plan.version("encoding"), plan.version("fit_scores")),
        message:
            "Fit the responses of {wildcards.subject} to layer {wildcards.layer} of {wildcards.model}"
        shell:
            FITS


# One job for all layers of a model. Layer lists differ between models, and outputs of a rule cannot
# depend on a wildcard.
for model in plan.models_fitted_whole:

    rule:
        name:
            plan.rule_name("fit_encoding", model)
        input:
            script=plan.script("fit_encoding"),
            code=ENCODING_CODE,
            features=features_of(model),
            baseline=baseline_of(model),
            nuisance=of(plan.nuisance_of_fit, "subject"),
            responses=plan.path("responses"),
        output:
            stores=[
                directory(plan.path("encoding", model=model, layer=layer))
                for layer in plan.layers(model)
            ],
            tables=[
                plan.path("fit_scores", model=model, layer=layer)
                for layer in plan.layers(model)
            ],
        log:
            f"logs/{study.name}/encoding/{model}/{{subject}}.log",
        benchmark:
            f"logs/{study.name}/encoding/{model}/{{subject}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=fit_memory,
            runtime=480,
            gpu=FIT_GPUS,
            device=ENCODING.device,
        params:
            layers=layers_of_fits,
            settings=as_it_is(plan.settings_of("fit_encoding")),
            baseline=baseline_option,
            rsa=as_it_is(RSA_OF_FITS),
            study=study.name,
            format_version=(plan.version("encoding"), plan.version("fit_scores")),
        message:
            f"Fit the responses of {{wildcards.subject}} to all layers of {model}"
        shell:
            FITS


rule measure_unique:
    input:
        script=plan.script("measure_unique"),
        code=plan.code("measure_unique"),
        features=of(plan.features_for_subject, "model", "subject"),
        nuisance=of(plan.nuisance_features, "subject"),
        responses=plan.path("responses"),
    output:
        directory(plan.path("unique")),
    log:
        f"logs/{study.name}/unique/{{model}}/{{subject}}.log",
    benchmark:
        f"logs/{study.name}/unique/{{model}}/{{subject}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=1440,
    params:
        settings=as_it_is(plan.settings_of("measure_unique")),
        study=study.name,
        format_version=plan.version("unique"),
    message:
        "Estimate what the signals of {wildcards.model} explain beside all activations in {wildcards.subject}"
    shell:
        "python {input.script} --features {input.features:q} --responses {input.responses:q}"
        " --nuisance {input.nuisance:q} --settings {params.settings:q} --study {params.study:q}"
        " --output {output:q} > {log:q} 2>&1"


if ENCODING.rule_pairs:

    rule measure_rule_pairs:
        input:
            script=plan.script("measure_rule_pairs"),
            code=plan.code("measure_rule_pairs"),
            features=of(plan.features_for_subject, "model", "subject"),
            nuisance=of(plan.nuisance_features, "subject"),
            responses=plan.path("responses"),
        output:
            plan.path("rule_pairs"),
        log:
            f"logs/{study.name}/rule_pairs/{{model}}/{{subject}}.log",
        benchmark:
            f"logs/{study.name}/rule_pairs/{{model}}/{{subject}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=memory(8000),
            runtime=1440,
        params:
            settings=as_it_is(plan.settings_of("measure_rule_pairs")),
            study=study.name,
            format_version=plan.version("rule_pairs"),
        message:
            "Estimate what the signals of {wildcards.model} explain beside one another in {wildcards.subject}"
        shell:
            "python {input.script} --features {input.features:q} --responses {input.responses:q}"
            " --nuisance {input.nuisance:q} --settings {params.settings:q} --study {params.study:q}"
            " --output {output:q} > {log:q} 2>&1"


rule compute_ceilings:
    input:
        script=plan.script("compute_ceilings"),
        code=plan.code("compute_ceilings"),
        responses=of(plan.responses_of, "dataset"),
    output:
        plan.path("ceilings"),
    log:
        f"logs/{study.name}/ceilings/{{dataset}}.log",
    benchmark:
        f"logs/{study.name}/ceilings/{{dataset}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        settings=as_it_is(plan.settings_of("compute_ceilings")),
        study=study.name,
        format_version=plan.version("ceilings"),
    message:
        "Predict the subjects of {wildcards.dataset} from one another"
    shell:
        "python {input.script} --responses {input.responses:q} --settings {params.settings:q}"
        " --study {params.study:q} --output {output:q} > {log:q} 2>&1"


rule collect_scores:
    input:
        script=plan.script("collect_scores"),
        code=plan.code("collect_scores"),
        tables=encoding_tables,
        stores=encoding_stores,
        ceilings=plan.ceilings,
        reliability=reliabilities_of_model,
        unique=unique_of_model,
    output:
        plan.path("scores"),
    log:
        f"logs/{study.name}/scores/{{model}}.log",
    benchmark:
        f"logs/{study.name}/scores/{{model}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        fits=of(plan.fits, "model"),
        layers=of(plan.layers, "model"),
        subjects=plan.subjects,
        ceilings=ceilings_option,
        reliability=reliability_option,
        format_version=plan.version("scores"),
    message:
        "Collect the scores of {wildcards.model}"
    shell:
        "python {input.script} --fits {params.fits:q} --layers {params.layers:q}"
        " --subjects {params.subjects:q} {params.ceilings} {params.reliability}"
        " --unique {input.unique:q} --output {output:q} > {log:q} 2>&1"


rule collect_maps:
    input:
        script=plan.script("collect_maps"),
        code=plan.code("collect_maps"),
        tables=encoding_tables,
        stores=encoding_stores,
    output:
        directory(plan.path("maps")),
    log:
        f"logs/{study.name}/maps/{{model}}.log",
    benchmark:
        f"logs/{study.name}/maps/{{model}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        fits=of(plan.fits, "model"),
        layers=of(plan.layers, "model"),
        subjects=plan.subjects,
        format_version=plan.version("maps"),
    message:
        "Collect the maps of {wildcards.model}"
    shell:
        "python {input.script} --fits {params.fits:q} --layers {params.layers:q}"
        " --subjects {params.subjects:q} --output {output:q} > {log:q} 2>&1"
