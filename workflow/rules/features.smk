# Batch size and device are resources and not parameters: no result depends on them.
FEATURES = study.settings.features
EXTRACTION = (
    "python {input.script} --model {params.model:q} --layers {params.layers:q}"
    " --depths {params.depths} --signal-set {params.signal_set:q}"
    " --stimuli {input.stimuli:q} --stimuli-name {wildcards.stimuli}"
    " --calibration {input.calibration:q} --data data --output {output:q}"
    " --batch-size {resources.batch_size} --device {resources.device}"
    " --precision {params.precision} --threads {threads} > {log:q} 2>&1"
)
GPUS = 0 if FEATURES.device == "cpu" else 1

if FEATURES.unit == "layer":

    rule extract_features:
        input:
            script=plan.script("extract_features"),
            code=extraction_code,
            weights=model_weights,
            stimuli="results/stimuli/{stimuli}.parquet",
            calibration=calibration_images,
        output:
            directory("results/features/{model}/{layer}/{signal_set}/{stimuli}.zarr"),
        log:
            "logs/features/{model}/{layer}/{signal_set}/{stimuli}.log",
        benchmark:
            "logs/features/{model}/{layer}/{signal_set}/{stimuli}.benchmark.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 2
        resources:
            mem_mb=memory(8000),
            runtime=240,
            gpu=GPUS,
            batch_size=FEATURES.batch_size,
            device=FEATURES.device,
        params:
            model=model_entry_json,
            signal_set=signal_set_json,
            layers="{layer}",
            depths=layer_depth,
            precision=FEATURES.precision,
            format_version=plan.format_version,
        message:
            "Extract {wildcards.signal_set} signals of {wildcards.model}, layer {wildcards.layer}, for the images of {wildcards.stimuli}"
        shell:
            EXTRACTION

else:

    for model, signal_set, layers in plan.fused_extractions():

        # Layer lists differ between models, and outputs of a rule cannot depend on a wildcard.
        rule:
            name:
                f"extract_features_{model}_{signal_set}".replace("-", "_").replace(
                    ".", "_"
                )
            input:
                script=plan.script("extract_features"),
                code=plan.extraction_code(signal_set),
                weights=plan.weights(model) + plan.text_weights(model, signal_set),
                stimuli="results/stimuli/{stimuli}.parquet",
                calibration=f"results/stimuli/{plan.signal_set(signal_set).calibration}.parquet",
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
            threads: 2
            resources:
                mem_mb=memory(16000),
                runtime=480,
                gpu=GPUS,
                batch_size=FEATURES.batch_size,
                device=FEATURES.device,
            params:
                model=plan.extraction_entry(model, signal_set),
                signal_set=plan.as_json(plan.signal_set(signal_set)),
                # Of the outputs, and so no reason to run again: studies that take other layers of a
                # model share its features.
                layers=layers_of_stores,
                depths=depths_of_stores,
                known_depths=plan.depths(model),
                precision=FEATURES.precision,
                format_version=plan.format_version,
            message:
                f"Extract {signal_set} signals of {model}, all layers in one pass, for the images of {{wildcards.stimuli}}"
            shell:
                EXTRACTION
