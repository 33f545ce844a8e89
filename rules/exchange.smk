rule export:
    """Write a fitted clip in the layout of another tool: `snakemake results/<subject>/export/<format>`."""
    input:
        frames="results/{subject}/frames.h5",
        matte="results/{subject}/matte.h5",
        face_fit="results/{subject}/face_fit.h5",
        head_model=head_model_of,
    output:
        directory("results/{subject}/export/{format}"),
    log:
        "results/logs/{subject}/export/{format}.log",
    benchmark:
        "results/benchmarks/{subject}/export/{format}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 2
    # Measured on 2 cores for 400 frames of 482 px: 94 s, 569 MB (insta), 11 to 19 s, 322 MB (other pictures).
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        split=subject_option("split"),
        code=code_digest("preprocessing.export"),
    shell:
        "python -m preprocessing.export"
        " --format {wildcards.format}"
        " --frames {input.frames:q}"
        " --matte {input.matte:q}"
        " --head-model {input.head_model:q}"
        " --face-fit {input.face_fit:q}"
        " --split {params.split}"
        " --out {output:q}"
        " 2>&1 | tee {log:q}"


rule driver:
    """Make a driver of a recording: Live Link Face (ARKit) or NerFACE."""
    input:
        recording=recording,
        head_model=HEAD_MODEL,
    output:
        face_fit="results/drivers/{driver}/face_fit.h5",
        frames="results/drivers/{driver}/frames.h5",
    log:
        "results/logs/drivers/{driver}.log",
    benchmark:
        "results/benchmarks/drivers/{driver}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on 2 cores for 125 rows: 3 s, 300 MB.
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        kind=recording_kind,
        frame_rate_hz=config["frame_rate_hz"],
        source_rate_hz=lambda wildcards: config["drivers"][wildcards.driver][
            "source_rate_hz"
        ],
        code=code_digest("preprocessing.driver"),
    shell:
        "python -m preprocessing.driver"
        " --{params.kind} {input.recording:q}"
        " --head-model {input.head_model:q}"
        " --frame-rate-hz {params.frame_rate_hz}"
        " --source-rate-hz {params.source_rate_hz}"
        " --out {output.face_fit:q}"
        " --frames {output.frames:q}"
        " 2>&1 | tee {log:q}"


rule driver_sound:
    """Make a driver of a sound file, for avatars that are driven by sound."""
    input:
        wav=lambda wildcards: str(
            Path(config["drivers"][wildcards.sound]["wav"]).expanduser()
        ),
    output:
        "results/drivers/{sound}/frames.h5",
    log:
        "results/logs/drivers/{sound}.log",
    benchmark:
        "results/benchmarks/drivers/{sound}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on one core: 0.6 s, 60 MB for 6 s of sound; 2 s, 98 MB for ten minutes of 44.1 kHz stereo.
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        frame_rate_hz=config["frame_rate_hz"],
        code=code_digest("preprocessing.driver_sound"),
    shell:
        "python -m preprocessing.driver_sound"
        " --wav {input.wav:q}"
        " --frame-rate-hz {params.frame_rate_hz}"
        " --out {output:q}"
        " 2>&1 | tee {log:q}"


use rule audio_features as driver_audio_features with:
    input:
        frames="results/drivers/{sound}/frames.h5",
        given=audio_features_file,
    output:
        features="results/drivers/{sound}/audio_features.h5",
        npy=AUD_NPY_OF_SOUND,
    log:
        "results/logs/drivers/{sound}_audio_features.log",
    benchmark:
        "results/benchmarks/drivers/{sound}_audio_features.tsv"
