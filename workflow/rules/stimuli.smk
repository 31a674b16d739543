rule prepare_stimuli:
    input:
        script=plan.script("prepare_stimuli"),
        code=stimuli_code,
        plugins=stimuli_plugins,
    output:
        plan.path("stimuli"),
    log:
        "logs/stimuli/{stimuli}.log",
    benchmark:
        "logs/stimuli/{stimuli}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        entry=stimuli_entry,
        determined_by=of(plan.stimuli_determined_by, "stimuli"),
        data=stimuli_data,
        registries=of(plan.stimuli_registries, "stimuli"),
        folds=fold_option,
        format_version=plan.version("stimuli"),
    message:
        "List the images of stimulus set {wildcards.stimuli}"
    shell:
        "python {input.script} --entry {params.entry:q} --stimuli {wildcards.stimuli}"
        " --data {params.data:q} --registries {params.registries:q} {params.folds}"
        " --plugins {input.plugins:q} --output {output:q} > {log:q} 2>&1"


if study.chosen_stimuli:

    ruleorder: choose_images > prepare_stimuli

    rule choose_images:
        input:
            script=plan.script("choose_images"),
            code=plan.code("choose_images"),
            stimuli=of(plan.images.chosen_from, "stimuli"),
            list=plan.images.image_list,
        output:
            plan.path("stimuli"),
        log:
            "logs/stimuli/{stimuli}.log",
        benchmark:
            "logs/stimuli/{stimuli}.benchmark.tsv"
        wildcard_constraints:
            stimuli="|".join(map(re.escape, study.chosen_stimuli)),
        # Before anything is extracted.
        priority: 10
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=memory(4000),
            runtime=30,
        params:
            choice=of(plan.images.choice_of_images, "stimuli"),
            folds=fold_option,
            format_version=plan.version("stimuli"),
        message:
            "Choose the images of {wildcards.stimuli}"
        shell:
            "python {input.script} --stimuli {input.stimuli:q} {params.choice} {params.folds}"
            " --output {output:q} > {log:q} 2>&1"


if plan.images.stimuli_with_folds:

    rule assign_folds:
        input:
            script=plan.script("assign_folds"),
            code=split_code,
            plugins=split_plugins,
            stimuli=plan.path("stimuli"),
            folds=of(plan.images.fold_file, "stimuli"),
        output:
            plan.path("folds"),
        log:
            f"logs/{study.name}/folds/{{stimuli}}.log",
        benchmark:
            f"logs/{study.name}/folds/{{stimuli}}.benchmark.tsv"
        # Before anything is extracted.
        priority: 10
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=memory(2000),
            runtime=30,
        params:
            split=of(plan.images.split_options, "stimuli"),
            format_version=plan.version("folds"),
        message:
            "Put the images of {wildcards.stimuli} into the folds of the study"
        shell:
            "python {input.script} --stimuli {input.stimuli:q} --folds {input.folds:q}"
            " {params.split} --plugins {input.plugins:q} --output {output:q} > {log:q} 2>&1"
