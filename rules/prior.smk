rule prior_pictures:
    """Draw synthetic heads from all sides: a share of what the generative prior learns from."""
    input:
        head_model=SYNTHETIC_HEAD_MODEL,
    output:
        "results/prior/pictures_{shard}.h5",
    log:
        "results/logs/prior/pictures_{shard}.log",
    benchmark:
        "results/benchmarks/prior/pictures_{shard}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on 2 cores, two at a time, for 100 people of 12 pictures of 128 px beside other work: 220 s, 536 MB.
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        people=PRIOR_PEOPLE_PER_SHARD,
        first_seed=lambda wildcards: int(wildcards.shard) * PRIOR_PEOPLE_PER_SHARD,
        size_px=PRIOR_PICTURE_PX,
        code=code_digest("preprocessing.prior_pictures"),
    shell:
        "python -m preprocessing.prior_pictures"
        " --head-model {input.head_model:q}"
        " --out {output:q}"
        " --people {params.people}"
        " --first-seed {params.first_seed}"
        " --size-px {params.size_px}"
        " > {log:q} 2>&1"


rule train_prior:
    """Train the own generative prior; made on request."""
    input:
        pictures=expand("results/prior/pictures_{shard}.h5", shard=PRIOR_SHARDS),
        head_model=SYNTHETIC_HEAD_MODEL,
    output:
        weights="results/prior/{size}.safetensors",
        preview="results/prior/{size}.png",
        curve="results/prior/{size}.csv",
    log:
        "results/logs/prior/{size}.log",
    benchmark:
        "results/benchmarks/prior/{size}.tsv"
    retries: 1
    conda:
        "../envs/avatars.yaml"
    threads: MODEL_THREADS
    # Measured on 2 cores for tiny, 1500 people: 2005 s, 5196 MB.
    resources:
        gpu=MODEL_GPUS,
        mem_mb=growing(8000),
        runtime=growing(720),
    params:
        seed=config["seed"],
        device=config["device"],
        code=code_digest("avatar_models.train_prior"),
    shell:
        "python -m avatar_models.train_prior"
        " --pictures {input.pictures:q}"
        " --head-model {input.head_model:q}"
        " --size {wildcards.size}"
        " --seed {params.seed}"
        " --device {params.device}"
        " --out {output.weights:q}"
        " --preview {output.preview:q}"
        " --curve {output.curve:q}"
        " 2>&1 | tee {log:q}"
