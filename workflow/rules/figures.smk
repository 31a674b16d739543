def figure_script_code(wildcards):
    return plan.code("plot_figure", f"gradbrain.figures.{wildcards.figure}")


def figure_inputs(wildcards):
    return [
        path
        for paths in plan.figure_inputs(wildcards.figure).values()
        for path in paths
    ]


def figure_options(wildcards):
    return " ".join(
        f"--{kind} {shlex.join(paths)}"
        for kind, paths in plan.figure_inputs(wildcards.figure).items()
    )


rule plot_figure:
    input:
        script=plan.script("plot_figure"),
        code=figure_script_code,
        style=plan.asset("gradbrain/figures/gradbrain.mplstyle"),
        results=figure_inputs,
    output:
        pdf=report(
            f"{RESULTS}/figures/{{figure}}.pdf",
            caption="../report/{figure}.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png=f"{RESULTS}/figures/{{figure}}.png",
        csv=f"{RESULTS}/figures/{{figure}}.csv",
    log:
        f"logs/{study.name}/figures/{{figure}}.log",
    benchmark:
        f"logs/{study.name}/figures/{{figure}}.benchmark.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        options=figure_options,
        settings=plan.as_json(study.settings.statistics),
        stem=f"{RESULTS}/figures/{{figure}}",
        format_version=plan.format_version,
    message:
        "Draw {wildcards.figure}"
    shell:
        "{PYTHON} {input.script} --figure {wildcards.figure} {params.options}"
        " --settings {params.settings:q} --study {study.name:q} --output-stem {params.stem:q} > {log:q} 2>&1"
