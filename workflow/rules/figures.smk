rule plot_figure:
    input:
        script=plan.script("plot_figure"),
        code=figure_script_code,
        style=plan.asset("gradbrain/figures/gradbrain.mplstyle"),
        plugins=figure_plugins,
        entries=plan.path("entries"),
        results=figure_inputs,
    output:
        pdf=plan.path("figure", ending="pdf"),
        png=plan.path("figure", ending="png"),
        csv=plan.path("figure", ending="csv"),
    log:
        f"logs/{study.name}/figures/{{figure}}.log",
    benchmark:
        f"logs/{study.name}/figures/{{figure}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        options=of(plan.figures.options, "figure"),
        # Of figures that nobody named, one that has nothing to draw says so.
        empty="--may-be-empty" if study.settings.figures.names == "all" else "",
        settings=as_it_is(plan.as_json(study.settings.statistics)),
        stem=subpath(output.pdf, strip_suffix=".pdf"),
        study=study.name,
        format_version=plan.version("figure"),
    message:
        "Draw {wildcards.figure}"
    shell:
        "python {input.script} --figure {wildcards.figure} {params.options}"
        " --entries {input.entries:q} --plugins {input.plugins:q} {params.empty}"
        " --settings {params.settings:q} --study {params.study:q} --output-stem {params.stem:q} > {log:q} 2>&1"
