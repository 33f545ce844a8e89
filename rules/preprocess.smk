DETECTOR = asset(DETECTOR_ASSET)
MESH = asset(MESH_ASSET)
LANDMARK_NETWORK = asset(LANDMARK_ASSETS[LANDMARK_DETECTOR])
SEGMENTER = asset(SEGMENTER_ASSET)


rule head_model:
    """Build the head model once: template, identities, expressions, landmarks on the mesh."""
    input:
        detector=DETECTOR,
        mesh=MESH,
        files=lambda wildcards: list(files_of_head_model(wildcards).values()),
    output:
        "results/head_models/{head_model}.h5",
    log:
        "results/logs/head_models/{head_model}.log",
    benchmark:
        "results/benchmarks/head_models/{head_model}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on 2 cores: anny 37 s, 1030 MB; ICT-FaceKit 70 s, 720 MB. For Basel, never seen here, this is an estimate.
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        files=lambda wildcards: [
            f"--{option}={path}"
            for option, path in files_of_head_model(wildcards).items()
        ],
        code=code_digest("preprocessing.head_model"),
    shell:
        "python -m preprocessing.head_model"
        " --source {wildcards.head_model:q}"
        " {params.files:q}"
        " --detector {input.detector:q}"
        " --mesh {input.mesh:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"


rule synthesize:
    """Make the clip of a synthetic subject, and the whole truth about it."""
    input:
        head_model=SYNTHETIC_HEAD_MODEL,
    output:
        video="results/synthetic/{subject}.mp4",
        truth="results/synthetic/{subject}.h5",
    log:
        "results/logs/synthetic/{subject}.log",
    benchmark:
        "results/benchmarks/synthetic/{subject}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on 2 shared cores for 200 frames of 256 px: 79 s of processor time, 760 MB, whatever the length.
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        frame_rate_hz=config["frame_rate_hz"] or 25,
        options=synthetic_options,
        code=code_digest("preprocessing.synthesize"),
    shell:
        "python -m preprocessing.synthesize"
        " --head-model {input.head_model:q}"
        " --video {output.video:q}"
        " --out {output.truth:q}"
        " --frame-rate-hz {params.frame_rate_hz}"
        " {params.options:q}"
        " > {log:q} 2>&1"


rule frames:
    """Read the clip: one stable head crop at the wanted frame rate, and its sound."""
    input:
        video=subject_video,
        detector=DETECTOR,
    output:
        "results/{subject}/frames.h5",
    log:
        "results/logs/{subject}/frames.log",
    benchmark:
        "results/benchmarks/{subject}/frames.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 4 s, 309 MB.
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        frame_rate_hz=config["frame_rate_hz"],
        start_s=subject_option("start_s"),
        duration_s=subject_option("duration_s"),
        audio_shift_s=subject_option("audio_shift_s"),
        options=step_options("frames"),
        code=code_digest("preprocessing.frames"),
    shell:
        "python -m preprocessing.frames"
        " --video {input.video:q}"
        " --detector {input.detector:q}"
        " --out {output:q}"
        " --frame-rate-hz {params.frame_rate_hz}"
        " --start-s {params.start_s}"
        " --duration-s {params.duration_s}"
        " --audio-shift-s {params.audio_shift_s}"
        " {params.options:q}"
        " > {log:q} 2>&1"


rule landmarks:
    """Find the points of the face in every frame: lips, eyes, irises."""
    input:
        frames="results/{subject}/frames.h5",
        detector=DETECTOR,
        network=LANDMARK_NETWORK,
    output:
        "results/{subject}/landmarks.h5",
    log:
        "results/logs/{subject}/landmarks.log",
    benchmark:
        "results/benchmarks/{subject}/landmarks.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: LANDMARK_COST["threads"]
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 4 s, 289 MB; FAN: see LANDMARK_COSTS.
    resources:
        mem_mb=growing(LANDMARK_COST["mem_mb"]),
        runtime=growing(LANDMARK_COST["runtime"]),
        gpu=LANDMARK_COST["gpu"],
    params:
        detector=landmark_options(LANDMARK_DETECTOR),
        code=code_digest("preprocessing.landmarks"),
    shell:
        "python -m preprocessing.landmarks"
        " --images {input.frames:q}"
        " --detector {input.detector:q}"
        " {params.detector} {input.network:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"


use rule landmarks as other_landmarks with:
    input:
        frames="results/{subject}/frames.h5",
        detector=DETECTOR,
        network=asset(LANDMARK_ASSETS[OTHER_LANDMARK_DETECTOR]),
    output:
        "results/{subject}/other_landmarks.h5",
    log:
        "results/logs/{subject}/other_landmarks.log",
    benchmark:
        "results/benchmarks/{subject}/other_landmarks.tsv"
    threads: OTHER_LANDMARK_COST["threads"]
    resources:
        mem_mb=growing(OTHER_LANDMARK_COST["mem_mb"]),
        runtime=growing(OTHER_LANDMARK_COST["runtime"]),
        gpu=OTHER_LANDMARK_COST["gpu"],
    params:
        detector=landmark_options(OTHER_LANDMARK_DETECTOR),
        code=code_digest("preprocessing.landmarks"),


rule agree:
    """Compare the points of both landmark detectors, frame by frame and region by region."""
    input:
        first="results/{subject}/landmarks.h5",
        second="results/{subject}/other_landmarks.h5",
    output:
        artifact="results/{subject}/agree.h5",
        markdown="results/{subject}/agree.md",
    log:
        "results/logs/{subject}/agree.log",
    benchmark:
        "results/benchmarks/{subject}/agree.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Not measured under Snakemake; by hand about 2 s for 500 frames.
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_digest("preprocessing.agree"),
    shell:
        "python -m preprocessing.agree"
        " --first {input.first:q}"
        " --second {input.second:q}"
        " --out {output.artifact:q}"
        " --markdown {output.markdown:q}"
        " > {log:q} 2>&1"


rule matte:
    """Separate the person from the background in every frame, softly."""
    input:
        frames="results/{subject}/frames.h5",
        landmarks="results/{subject}/landmarks.h5",
        segmenter=SEGMENTER,
    output:
        "results/{subject}/matte.h5",
    log:
        "results/logs/{subject}/matte.log",
    benchmark:
        "results/benchmarks/{subject}/matte.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 7 s, 331 MB.
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=code_digest("preprocessing.matte"),
    shell:
        "python -m preprocessing.matte"
        " --frames {input.frames:q}"
        " --landmarks {input.landmarks:q}"
        " --segmenter {input.segmenter:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"


rule face_fit:
    """Fit the head model to all frames at once: identity, expression, pose, gaze, camera, torso."""
    input:
        frames="results/{subject}/frames.h5",
        landmarks="results/{subject}/landmarks.h5",
        matte="results/{subject}/matte.h5",
        head_model=head_model_of,
    output:
        "results/{subject}/face_fit.h5",
    log:
        "results/logs/{subject}/face_fit.log",
    benchmark:
        "results/benchmarks/{subject}/face_fit.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 2
    # Measured on 2 cores for the demo clip (128 px, tiny, photometric light): 100 frames 13 s, 778 MB; played to and fro
    # for 400, 1600, 3200 frames: 941, 1718, 1859 MB (1500 frames are solved together); 500 frames of 450 px: 1011 MB.
    resources:
        gpu=0 if FIT_DEVICE == "cpu" else 1,
        mem_mb=growing(3000),
        runtime=growing(60),
    params:
        device=FIT_DEVICE,
        options=step_options("face_fit"),
        code=code_digest("preprocessing.face_fit"),
    shell:
        "python -m preprocessing.face_fit"
        " --frames {input.frames:q}"
        " --landmarks {input.landmarks:q}"
        " --matte {input.matte:q}"
        " --head-model {input.head_model:q}"
        " --device {params.device}"
        " --out {output:q}"
        " {params.options:q}"
        " > {log:q} 2>&1"


rule audio_features:
    """Describe the sound around every frame: windows of 16 log-mel, DeepSpeech or other features."""
    input:
        frames="results/{subject}/frames.h5",
        given=audio_features_file,
    output:
        features="results/{subject}/audio_features.h5",
        npy=AUD_NPY,
    log:
        "results/logs/{subject}/audio_features.log",
    benchmark:
        "results/benchmarks/{subject}/audio_features.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on one core for 20 s of video: log_mel 3 s, 105 MB; deepspeech with a network file of 46 MB 5 s, 334 MB.
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        options=audio_options,
        code=code_digest("preprocessing.audio_features"),
    shell:
        "python -m preprocessing.audio_features"
        " --frames {input.frames:q}"
        " --out {output.features:q}"
        " {params.options:q}"
        " > {log:q} 2>&1"


rule sync:
    """Measure how late the sound is against the lips."""
    input:
        frames="results/{subject}/frames.h5",
        landmarks="results/{subject}/landmarks.h5",
    output:
        "results/{subject}/sync.h5",
    log:
        "results/logs/{subject}/sync.log",
    benchmark:
        "results/benchmarks/{subject}/sync.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    # Measured on one core: 3 s, 114 MB for 20 s of video; on two busy ones 10 s, 222 MB for 10,000 frames (6.7 minutes).
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_digest("preprocessing.sync"),
    shell:
        "python -m preprocessing.sync"
        " --frames {input.frames:q}"
        " --landmarks {input.landmarks:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"
