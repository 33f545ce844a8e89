rule train_avatar:
    """Train one avatar model on the training frames of one subject."""
    input:
        unpack(training_sound),
        frames="results/{subject}/frames.h5",
        matte="results/{subject}/matte.h5",
        face_fit="results/{subject}/face_fit.h5",
        head_model=head_model_of,
        model_files=lambda wildcards: sorted(
            map(str, input_files(options_of_model(wildcards.model)).values())
        ),
        lpips_weights=lambda wildcards: [
            asset(name) for name in lpips_network(wildcards.model)
        ],
    output:
        "results/{subject}/{model}/avatar.h5",
    log:
        "results/logs/{subject}/{model}/train_avatar.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/train_avatar.tsv"
    retries: 1
    conda:
        "../envs/avatars.yaml"
    threads: MODEL_THREADS
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 308 s, 1112 MB (monoavatar_d), 9 s, 428 MB (nearest_frame).
    resources:
        gpu=MODEL_GPUS,
        mem_mb=growing(6000),
        runtime=growing(120),
    params:
        preset=config["preset"],
        image_size=config["image_size"],
        split=subject_option("split"),
        seed=config["seed"],
        device=config["device"],
        options=step_options("train_avatar"),
        sound=lambda wildcards: option_words(training_sound(wildcards)),
        overrides=lambda wildcards: model_assignments(wildcards.model),
        code=model_code("avatar_models.train"),
    shell:
        "python -m avatar_models.train"
        " --model {wildcards.model}"
        " --preset {params.preset}"
        " --frames {input.frames:q}"
        " --matte {input.matte:q}"
        " --head-model {input.head_model:q}"
        " --face-fit {input.face_fit:q}"
        " --image-size {params.image_size}"
        " --split {params.split}"
        " --seed {params.seed}"
        " --device {params.device}"
        " --out {output:q}"
        " {params.sound:q}"
        " {params.options:q}"
        " --set {params.overrides:q}"
        " --lpips-weights {input.lpips_weights:q}"
        " 2>&1 | tee {log:q}"


rule render_avatar:
    """Render an avatar: held-out frames (self), turning head (orbit), driven by another (cross) or a sound (audio)."""
    input:
        unpack(driver_files),
        avatar="results/{subject}/{model}/avatar.h5",
        face_fit="results/{subject}/face_fit.h5",
        head_model=head_model_of,
    output:
        render="results/{subject}/{model}/render_{view}.h5",
        video=report(
            "results/{subject}/{model}/render_{view}.mp4",
            caption="../workflow/report/render.rst",
            category="Renders",
            subcategory="{subject}",
            labels={"model": "{model}", "view": "{view}"},
        ),
    log:
        "results/logs/{subject}/{model}/render_{view}.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/render_{view}.tsv"
    conda:
        "../envs/avatars.yaml"
    threads: MODEL_THREADS
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 12 s, 564 MB (monoavatar_d, orbit of 100 frames).
    resources:
        gpu=MODEL_GPUS,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        mode=lambda wildcards: wildcards.view.split("_")[0],
        driver=lambda wildcards: option_words(driver_files(wildcards)),
        whole_driver=lambda wildcards: (
            "--whole-driver"
            if driver_of(wildcards) in DRIVERS
            else "--no-whole-driver"
        ),
        split=subject_option("split"),
        device=config["device"],
        options=step_options("render_avatar"),
        code=model_code("avatar_models.render"),
    shell:
        "python -m avatar_models.render"
        " --avatar {input.avatar:q}"
        " --mode {params.mode}"
        " --head-model {input.head_model:q}"
        " --face-fit {input.face_fit:q}"
        " {params.driver:q}"
        " --split {params.split}"
        " {params.whole_driver}"
        " --device {params.device}"
        " --out {output.render:q}"
        " --video {output.video:q}"
        " {params.options:q}"
        " 2>&1 | tee {log:q}"
