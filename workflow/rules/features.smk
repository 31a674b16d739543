# Batch size and device are resources and not parameters: no result depends on them.
FEATURES = study.settings.features
EXTRACTION = (
    "python {input.script} --model {params.model:q} --layers {params.layers:q}"
    " --depths {params.depths} --signal-set {params.signal_set:q}"
    " --stimuli {input.stimuli:q} --stimuli-name {wildcards.stimuli}"
    " --calibration {input.calibration:q} --data data --output {output:q}"
    " --batch-size {resources.batch_size} --device {resources.device}"
    " --precision {params.precision} --threads {threads} --plugins {input.plugins:q}"
    " --chain {params.chain:q} --feedback {input.feedback:q} --targets {input.targets:q}"
    " > {log:q} 2>&1"
)
GPUS = 0 if FEATURES.device == "cpu" else 1


if plan.trained_here:

    # So small that one processor trains it in a minute, and the same weights everywhere.
    rule train_testbed:
        input:
            script=plan.script("train_testbed"),
            code=plan.code("train_testbed"),
            images=of(plan.training_images, "model"),
        output:
            store=directory(plan.path("trained_network")),
            table=plan.path("training"),
        log:
            "logs/trained/{model}.log",
        benchmark:
            "logs/trained/{model}.benchmark.tsv"
        wildcard_constraints:
            model="|".join(map(re.escape, plan.trained_here)),
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=60,
        params:
            model=of(plan.training_entry, "model"),
            format_version=plan.version("trained_network"),
        message:
            "Train {wildcards.model}"
        shell:
            "python {input.script} --model {params.model:q} --images {input.images:q}"
            " --store {output.store:q} --table {output.table:q} > {log:q} 2>&1"


rule fit_feedback:
    input:
        script=plan.script("fit_feedback"),
        code=feedback_code,
        plugins=feedback_plugins,
        weights=of(plan.weight_inputs, "model"),
        calibration=plan.path("stimuli", stimuli="{calibration}"),
    output:
        directory(plan.path("feedback")),
    log:
        "logs/feedback/{model}/{signal}/{calibration}.log",
    benchmark:
        "logs/feedback/{model}/{signal}/{calibration}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: FEATURES.threads
    resources:
        mem_mb=memory(16000),
        runtime=240,
        gpu=GPUS,
        batch_size=FEATURES.batch_size,
        device=FEATURES.device,
    params:
        model=of(plan.feedback_model, "model", "signal"),
        signal=of(plan.signal_entry, "signal"),
        chain=of(plan.chain, "model"),
        precision=FEATURES.precision,
        format_version=plan.version("feedback"),
    message:
        "Fit the model of {wildcards.signal} for {wildcards.model} on the images of {wildcards.calibration}"
    shell:
        "python {input.script} --model {params.model:q} --signal {params.signal:q}"
        " --chain {params.chain:q} --calibration {input.calibration:q}"
        " --calibration-name {wildcards.calibration} --data data --output {output:q}"
        " --batch-size {resources.batch_size} --device {resources.device}"
        " --precision {params.precision} --threads {threads} --plugins {input.plugins:q}"
        " > {log:q} 2>&1"


if plan.statistics_models:
    LEVELS = plan.statistics_levels()

    # No network: every level in one job, whatever `features.unit` says.
    rule image_statistics:
        input:
            script=plan.script("image_statistics"),
            code=plan.code("image_statistics"),
            plugins=activation_plugins,
            stimuli=plan.path("stimuli"),
        output:
            [directory(plan.path("features", layer=level.name)) for level in LEVELS],
        log:
            "logs/features/{model}/{signal_set}/{stimuli}.log",
        benchmark:
            "logs/features/{model}/{signal_set}/{stimuli}.benchmark.tsv"
        wildcard_constraints:
            model="|".join(map(re.escape, plan.statistics_models)),
        conda:
            "../../envs/environment.yaml"
        threads: FEATURES.threads
        resources:
            mem_mb=memory(2000),
            runtime=240,
        params:
            model=of(plan.extraction_entry, "model", "signal_set"),
            signal_set=of(plan.activation_set_json, "signal_set"),
            levels=[level.name for level in LEVELS],
            depths=[level.depth for level in LEVELS],
            format_version=plan.version("features"),
        message:
            "Take statistics of the images of {wildcards.stimuli} ({wildcards.model})"
        shell:
            "python {input.script} --model {params.model:q} --signal-set {params.signal_set:q}"
            " --levels {params.levels} --depths {params.depths} --stimuli {input.stimuli:q}"
            " --stimuli-name {wildcards.stimuli} --plugins {input.plugins:q}"
            " --threads {threads} --output {output:q} > {log:q} 2>&1"


if plan.viewing_sets:

    # Views of images pass through the whole network whichever layer is asked for: once for all
    # jobs by layer.
    rule compute_objective_targets:
        input:
            script=plan.script("compute_objective_targets"),
            code=targets_code,
            plugins=targets_plugins,
            weights=model_weights,
            stimuli=plan.path("stimuli"),
            calibration=calibration_images,
        output:
            directory(plan.path("objective_targets")),
        log:
            "logs/objective_targets/{model}/{signal_set}/{stimuli}.log",
        benchmark:
            "logs/objective_targets/{model}/{signal_set}/{stimuli}.benchmark.tsv"
        wildcard_constraints:
            model="|".join(map(re.escape, plan.networks)),
            signal_set="|".join(map(re.escape, plan.viewing_sets)),
        conda:
            "../../envs/environment.yaml"
        threads: FEATURES.threads
        resources:
            mem_mb=memory(8000),
            runtime=480,
            gpu=GPUS,
            batch_size=FEATURES.batch_size,
            device=FEATURES.device,
        params:
            model=of(plan.extraction_entry, "model", "signal_set"),
            signal_set=of(plan.signal_set_json, "signal_set"),
            precision=FEATURES.precision,
            format_version=plan.version("objective_targets"),
        message:
            "Compute what the objectives of {wildcards.signal_set} compare the images of {wildcards.stimuli} with ({wildcards.model})"
        shell:
            "python {input.script} --model {params.model:q} --signal-set {params.signal_set:q}"
            " --stimuli {input.stimuli:q} --stimuli-name {wildcards.stimuli}"
            " --calibration {input.calibration:q} --data data --output {output:q}"
            " --batch-size {resources.batch_size} --device {resources.device}"
            " --precision {params.precision} --threads {threads} --plugins {input.plugins:q}"
            " > {log:q} 2>&1"


if plan.layerwise_sets:

    rule extract_features:
        input:
            script=plan.script("extract_features"),
            code=of(plan.extraction_code, "model", "signal_set"),
            plugins=extraction_plugins,
            weights=model_weights,
            stimuli=plan.path("stimuli"),
            calibration=calibration_images,
            feedback=[],
            targets=of(plan.objective_targets, "model", "signal_set", "stimuli"),
        output:
            directory(plan.path("features")),
        log:
            "logs/features/{model}/{layer}/{signal_set}/{stimuli}.log",
        benchmark:
            "logs/features/{model}/{layer}/{signal_set}/{stimuli}.benchmark.tsv"
        wildcard_constraints:
            model="|".join(map(re.escape, plan.networks)),
            signal_set="|".join(map(re.escape, plan.layerwise_sets)),
        conda:
            "../../envs/environment.yaml"
        threads: FEATURES.threads
        resources:
            mem_mb=memory(8000),
            runtime=240,
            gpu=GPUS,
            batch_size=FEATURES.batch_size,
            device=FEATURES.device,
        params:
            model=of(plan.extraction_entry, "model", "signal_set"),
            signal_set=of(plan.signal_set_json, "signal_set"),
            layers="{layer}",
            depths=layer_depth,
            chain=[],
            precision=FEATURES.precision,
            format_version=plan.version("features"),
        message:
            "Extract {wildcards.signal_set} signals of {wildcards.model}, layer {wildcards.layer}, for the images of {wildcards.stimuli}"
        shell:
            EXTRACTION


# One job for all layers of a model: as the study asks, or because a rule needs them all.
for model, signal_set, layers in plan.fused_extractions():

    # Layer lists differ between models, and outputs of a rule cannot depend on a wildcard.
    rule:
        name:
            plan.rule_name("extract_features", model, signal_set)
        input:
            script=plan.script("extract_features"),
            code=plan.extraction_code(model, signal_set),
            plugins=plan.plugin_files(*plan.extraction_plugins(model, signal_set)),
            weights=plan.weight_inputs(model) + plan.text_weights(model, signal_set),
            stimuli=plan.path("stimuli"),
            calibration=plan.path(
                "stimuli", stimuli=plan.signal_set(signal_set).calibration
            ),
            feedback=plan.feedback(model, signal_set),
            targets=[],
        output:
            [
                directory(plan.features(model, layer, signal_set, "{stimuli}"))
                for layer in layers
            ],
        log:
            f"logs/features/{model}/{signal_set}/{{stimuli}}.log",
        benchmark:
            f"logs/features/{model}/{signal_set}/{{stimuli}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: FEATURES.threads
        resources:
            mem_mb=memory(16000),
            runtime=480,
            gpu=GPUS,
            batch_size=FEATURES.batch_size,
            device=FEATURES.device,
        params:
            model=as_it_is(plan.extraction_entry(model, signal_set)),
            signal_set=as_it_is(plan.signal_set_json(signal_set)),
            # Of the outputs, and so no reason to run again: studies that take other layers of a
            # model share its features.
            layers=layers_of_stores,
            depths=depths_of_stores,
            chain=plan.chain(model) if plan.takes_chain(signal_set) else [],
            known_depths=plan.depths(model),
            precision=FEATURES.precision,
            format_version=plan.version("features"),
        message:
            f"Extract {signal_set} signals of {model}, all layers in one pass, for the images of {{wildcards.stimuli}}"
        shell:
            EXTRACTION


if plan.compares_rules:

    rule compare_signals:
        input:
            script=plan.script("compare_signals"),
            code=plan.code("compare_signals"),
            features=of(plan.features_of_model, "model", "stimuli"),
        output:
            plan.path("alikeness"),
        log:
            f"logs/{study.name}/alikeness/{{model}}/{{stimuli}}.log",
        benchmark:
            f"logs/{study.name}/alikeness/{{model}}/{{stimuli}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=memory(4000),
            runtime=60,
        params:
            study=study.name,
            format_version=plan.version("alikeness"),
        message:
            "Compare the signals of {wildcards.model} with one another, for the images of {wildcards.stimuli}"
        shell:
            "python {input.script} --features {input.features:q} --study {params.study:q}"
            " --output {output:q} > {log:q} 2>&1"


if any(map(plan.uncertain_signals, study.models)):

    # A second draw of what depends on chance, in one pass over some images, whatever the unit of
    # extraction is.
    rule measure_reliability:
        input:
            script=plan.script("measure_reliability"),
            code=reliability_code,
            plugins=reliability_plugins,
            weights=measured_weights,
            stimuli=plan.path("stimuli"),
            calibration=plan.path("stimuli", stimuli=study.signal_set.calibration),
            feedback=measured_feedback,
            features=of(plan.features_of_model, "model", "stimuli"),
        output:
            plan.path("reliability"),
        log:
            f"logs/{study.name}/reliability/{{model}}/{{stimuli}}.log",
        benchmark:
            f"logs/{study.name}/reliability/{{model}}/{{stimuli}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: FEATURES.threads
        resources:
            mem_mb=memory(16000),
            runtime=240,
            gpu=GPUS,
            batch_size=FEATURES.batch_size,
            device=FEATURES.device,
        params:
            model=measured_model_json,
            signal_set=measured_signals,
            chain=measured_chain,
            precision=FEATURES.precision,
            settings=as_it_is(plan.settings_of("measure_reliability")),
            study=study.name,
            format_version=plan.version("reliability"),
        message:
            "Measure how well the signals of {wildcards.model} repeat themselves, for the images of {wildcards.stimuli}"
        shell:
            "python {input.script} --study {params.study:q} --model {params.model:q}"
            " --signal-set {params.signal_set:q} --features {input.features:q}"
            " --stimuli {input.stimuli:q} --stimuli-name {wildcards.stimuli}"
            " --calibration {input.calibration:q} --settings {params.settings:q} --data data"
            " --output {output:q} --batch-size {resources.batch_size}"
            " --device {resources.device} --precision {params.precision} --threads {threads}"
            " --plugins {input.plugins:q} --chain {params.chain:q} --feedback {input.feedback:q}"
            " > {log:q} 2>&1"


# Universes that pool or scale the same signals otherwise read them from the same passes.
for model, signal_sets, layers in plan.multiverse.extractions():

    rule:
        name:
            plan.rule_name("extract_features", model, signal_sets[0])
        input:
            script=plan.script("extract_features"),
            code=plan.extraction_code(model, signal_sets[0]),
            plugins=plan.plugin_files(*plan.extraction_plugins(model, signal_sets[0])),
            weights=plan.weight_inputs(model) + plan.text_weights(model, signal_sets[0]),
            stimuli=plan.path("stimuli"),
            calibration=plan.path(
                "stimuli", stimuli=plan.signal_set(signal_sets[0]).calibration
            ),
            feedback=plan.feedback(model, signal_sets[0]),
            targets=[],
        output:
            [
                directory(plan.features(model, layer, signal_set, "{stimuli}"))
                for signal_set in signal_sets
                for layer in layers
            ],
        log:
            f"logs/features/{model}/{signal_sets[0]}/{{stimuli}}.log",
        benchmark:
            f"logs/features/{model}/{signal_sets[0]}/{{stimuli}}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: FEATURES.threads
        resources:
            mem_mb=memory(16000),
            runtime=480,
            gpu=GPUS,
            batch_size=FEATURES.batch_size,
            device=FEATURES.device,
        params:
            model=as_it_is(plan.extraction_entry(model, signal_sets[0])),
            signal_set=as_it_is(plan.signal_set_json(signal_sets[0])),
            further=as_it_is([plan.signal_set_json(name) for name in signal_sets[1:]]),
            layers=layers,
            depths=[plan.layer(model, layer).depth for layer in layers],
            chain=plan.chain(model) if plan.takes_chain(signal_sets[0]) else [],
            known_depths=plan.depths(model),
            precision=FEATURES.precision,
            format_version=plan.version("features"),
        message:
            f"Extract signals of {model} in {len(signal_sets)} ways ({signal_sets[0]} …), for the images of {{wildcards.stimuli}}"
        shell:
            EXTRACTION.replace(
                " --stimuli ", " --further-sets {params.further:q} --stimuli "
            )
