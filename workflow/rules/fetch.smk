# Public files of data sets come only when asked for: `snakemake -c1 fetch_<data set>`. The rules
# have no output, so that no run ever deletes or replaces data; the script goes on where it was cut.
for dataset in plan.fetchable:

    rule:
        name:
            plan.rule_name("fetch", dataset)
        input:
            script=plan.script("fetch_dataset"),
        log:
            f"logs/fetch/{dataset}.log",
        localrule: True
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=memory(1000),
            runtime=1440,
        params:
            dataset=dataset,
            registries=as_it_is(plan.registries()),
        message:
            "Fetch the public files of {params.dataset} into data/{params.dataset}"
        shell:
            "python {input.script} {params.dataset} --registry {params.registries:q} > {log:q}"
