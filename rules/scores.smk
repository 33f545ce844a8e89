rule render_landmarks:
    """Find the same points in the rendered frames, with the detector of the clip."""
    input:
        render="results/{subject}/{model}/render_{measured}.h5",
        detector=DETECTOR,
        network=LANDMARK_NETWORK,
    output:
        "results/{subject}/{model}/render_{measured}_landmarks.h5",
    log:
        "results/logs/{subject}/{model}/render_{measured}_landmarks.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/render_{measured}_landmarks.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: LANDMARK_COST["threads"]
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 4 s, 286 MB; FAN: see LANDMARK_COSTS.
    resources:
        mem_mb=growing(LANDMARK_COST["mem_mb"]),
        runtime=growing(LANDMARK_COST["runtime"]),
        gpu=LANDMARK_COST["gpu"],
    params:
        detector=landmark_options(LANDMARK_DETECTOR),
        code=code_digest("preprocessing.landmarks"),
    shell:
        "python -m preprocessing.landmarks"
        " --images {input.render:q}"
        " --detector {input.detector:q}"
        " {params.detector} {input.network:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"


rule render_fit:
    """Fit expression and pose to the rendered frames, identity and camera held."""
    input:
        landmarks="results/{subject}/{model}/render_self_landmarks.h5",
        face_fit="results/{subject}/face_fit.h5",
        head_model=head_model_of,
    output:
        "results/{subject}/{model}/render_self_fit.h5",
    log:
        "results/logs/{subject}/{model}/render_fit.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/render_fit.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 2
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 9 s, 425 MB.
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        options=step_options("face_fit", without=["photometric"]),
        code=code_digest("preprocessing.face_fit"),
    shell:
        "python -m preprocessing.face_fit"
        " --landmarks {input.landmarks:q}"
        " --head-model {input.head_model:q}"
        " --subject-fit {input.face_fit:q}"
        " --out {output:q}"
        " {params.options:q}"
        " > {log:q} 2>&1"


# Renders are fitted to landmarks alone, so what they are compared with must be: the same estimator on both sides.
rule filmed_fit:
    """Fit expression and pose to the filmed frames in the way of render_fit, identity and camera held."""
    input:
        landmarks="results/{subject}/landmarks.h5",
        face_fit="results/{subject}/face_fit.h5",
        head_model=head_model_of,
    output:
        "results/{subject}/filmed_fit.h5",
    log:
        "results/logs/{subject}/filmed_fit.log",
    benchmark:
        "results/benchmarks/{subject}/filmed_fit.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 2
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 4 s, 421 MB.
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        options=step_options("face_fit", without=["photometric"]),
        code=code_digest("preprocessing.face_fit"),
    shell:
        "python -m preprocessing.face_fit"
        " --landmarks {input.landmarks:q}"
        " --head-model {input.head_model:q}"
        " --subject-fit {input.face_fit:q}"
        " --out {output:q}"
        " {params.options:q}"
        " > {log:q} 2>&1"


rule filmed_features:
    """What the networks of FID and CSIM see in the filmed frames."""
    input:
        frames="results/{subject}/frames.h5",
        matte="results/{subject}/matte.h5",
        landmarks="results/{subject}/landmarks.h5",
        inception=assets_of(FID_ASSETS),
        identity=assets_of(CSIM_ASSETS),
    output:
        "results/{subject}/picture_features.h5",
    log:
        "results/logs/{subject}/picture_features.log",
    benchmark:
        "results/benchmarks/{subject}/picture_features.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
        gpu=MODEL_GPUS,
    params:
        image_size=config["image_size"],
        device=config["device"],
        code=code_digest("evaluation.picture_features"),
    shell:
        "python -m evaluation.picture_features"
        " --frames {input.frames:q}"
        " --matte {input.matte:q}"
        " --landmarks {input.landmarks:q}"
        " --image-size {params.image_size}"
        " --device {params.device}"
        " --out {output:q}"
        " --inception {input.inception:q}"
        " --identity {input.identity:q}"
        " > {log:q} 2>&1"


rule render_features:
    """What the networks of FID and CSIM see in the rendered frames."""
    input:
        render="results/{subject}/{model}/render_self.h5",
        landmarks="results/{subject}/{model}/render_self_landmarks.h5",
        inception=assets_of(FID_ASSETS),
        identity=assets_of(CSIM_ASSETS),
    output:
        "results/{subject}/{model}/render_self_features.h5",
    log:
        "results/logs/{subject}/{model}/render_features.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/render_features.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=MODEL_GPUS,
    params:
        device=config["device"],
        code=code_digest("evaluation.picture_features"),
    shell:
        "python -m evaluation.picture_features"
        " --render {input.render:q}"
        " --landmarks {input.landmarks:q}"
        " --device {params.device}"
        " --out {output:q}"
        " --inception {input.inception:q}"
        " --identity {input.identity:q}"
        " > {log:q} 2>&1"


rule scores:
    """Measure the held-out frames against the truth, each metric with its definition."""
    input:
        render="results/{subject}/{model}/render_self.h5",
        avatar="results/{subject}/{model}/avatar.h5",
        frames="results/{subject}/frames.h5",
        matte="results/{subject}/matte.h5",
        landmarks="results/{subject}/landmarks.h5",
        face_fit="results/{subject}/face_fit.h5",
        head_model=head_model_of,
        render_landmarks="results/{subject}/{model}/render_self_landmarks.h5",
        render_fit="results/{subject}/{model}/render_self_fit.h5",
        filmed_fit="results/{subject}/filmed_fit.h5",
        # FID and CSIM, where they are wanted: of the render, and of the filmed frames.
        features=(
            [
                "results/{subject}/{model}/render_self_features.h5",
                "results/{subject}/picture_features.h5",
            ]
            if FID_ASSETS or CSIM_ASSETS
            else []
        ),
        lpips_alex=assets_of(LPIPS_ASSETS["alex"]),
        lpips_vgg=assets_of(LPIPS_ASSETS["vgg"]),
        lpips_squeeze=assets_of(LPIPS_ASSETS["squeeze"]),
    output:
        "results/{subject}/{model}/scores.h5",
    log:
        "results/logs/{subject}/{model}/scores.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/scores.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 2
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 11 s, 523 MB.
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_digest("evaluation.scores"),
    shell:
        "python -m evaluation.scores"
        " --render {input.render:q}"
        " --avatar {input.avatar:q}"
        " --frames {input.frames:q}"
        " --matte {input.matte:q}"
        " --landmarks {input.landmarks:q}"
        " --face-fit {input.face_fit:q}"
        " --head-model {input.head_model:q}"
        " --render-landmarks {input.render_landmarks:q}"
        " --render-fit {input.render_fit:q}"
        " --filmed-fit {input.filmed_fit:q}"
        " --out {output:q}"
        " --features {input.features:q}"
        " --lpips-alex {input.lpips_alex:q}"
        " --lpips-vgg {input.lpips_vgg:q}"
        " --lpips-squeeze {input.lpips_squeeze:q}"
        " > {log:q} 2>&1"
