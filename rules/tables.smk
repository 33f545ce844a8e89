localrules:
    paper_tables,


rule declared_table:
    """Make a table that is declared in YAML: measured rows beside published ones."""
    input:
        spec=lambda wildcards: TABLE_SPECS[wildcards.table],
        scores="results/tables/scores.csv",
        avatars=expand(
            "results/{subject}/{model}/avatar.h5",
            subject=AVATAR_SUBJECTS,
            model=MODELS,
        ),
    output:
        csv="results/tables/{table}.csv",
        markdown=report(
            "results/tables/{table}.md",
            caption="../workflow/report/declared_table.rst",
            category="Tables",
        ),
        latex="results/tables/{table}.tex",
    log:
        "results/logs/tables/{table}.log",
    benchmark:
        "results/benchmarks/tables/{table}.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    # Measured on 2 cores: 3 s, 150 MB; a pooled FID of six files of 10,000 frames: 16 s, 757 MB.
    resources:
        mem_mb=growing(1500),
        runtime=growing(30),
    params:
        seed=config["seed"],
        code=code_digest("evaluation.declared_table"),
    shell:
        "python -m evaluation.declared_table"
        " --spec {input.spec:q}"
        " --scores {input.scores:q}"
        " --results results"
        " --seed {params.seed}"
        " --csv {output.csv:q}"
        " --markdown {output.markdown:q}"
        " --latex {output.latex:q}"
        " > {log:q} 2>&1"


rule paper_tables:
    """The tables of the methods' papers, published rows beside measured ones; made on request."""
    input:
        expand("results/tables/{table}.tex", table=PAPER_TABLES),
