# Compute nodes of a cluster often have no way out: the machine that runs Snakemake downloads.
localrules:
    asset,


rule asset:
    """Fetch one third-party file and check its digest."""
    output:
        "results/assets/{asset}",
    log:
        "results/logs/assets/{asset}.log",
    benchmark:
        "results/benchmarks/assets/{asset}.tsv"
    retries: 2
    conda:
        "../envs/assets.yaml"
    threads: 1
    # Measured on 2 cores: 1.6 s with the download, 90 MB.
    resources:
        mem_mb=growing(500),
        runtime=growing(20),
    params:
        entry=lambda wildcards: REGISTRY[wildcards.asset].get("sha256", ""),
    shell:
        "python -m assets.fetch"
        " --name {wildcards.asset:q}"
        " --out {output:q}"
        " 2>&1 | tee {log:q}"
