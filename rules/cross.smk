# Renders that another filmed person drives: how well they follow, and whether they stay who they are.


use rule render_landmarks as cross_landmarks with:
    input:
        render="results/{subject}/{model}/render_cross_{actor}.h5",
        detector=DETECTOR,
        network=LANDMARK_NETWORK,
    output:
        "results/{subject}/{model}/cross/{actor}/landmarks.h5",
    log:
        "results/logs/{subject}/{model}/cross_{actor}_landmarks.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/cross_{actor}_landmarks.tsv"


use rule render_fit as cross_fit with:
    input:
        landmarks="results/{subject}/{model}/cross/{actor}/landmarks.h5",
        face_fit="results/{subject}/face_fit.h5",
        head_model=head_model_of,
    output:
        "results/{subject}/{model}/cross/{actor}/fit.h5",
    log:
        "results/logs/{subject}/{model}/cross_{actor}_fit.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/cross_{actor}_fit.tsv"


use rule render_features as cross_features with:
    input:
        render="results/{subject}/{model}/render_cross_{actor}.h5",
        landmarks="results/{subject}/{model}/cross/{actor}/landmarks.h5",
        inception=assets_of(FID_ASSETS),
        identity=assets_of(CSIM_ASSETS),
    output:
        "results/{subject}/{model}/cross/{actor}/features.h5",
    log:
        "results/logs/{subject}/{model}/cross_{actor}_features.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/cross_{actor}_features.tsv"


rule cross_scores:
    """Measure a render that another person drives: its motion against the driver's, and its identity."""
    input:
        render="results/{subject}/{model}/render_cross_{actor}.h5",
        avatar="results/{subject}/{model}/avatar.h5",
        render_landmarks="results/{subject}/{model}/cross/{actor}/landmarks.h5",
        render_fit="results/{subject}/{model}/cross/{actor}/fit.h5",
        driver_fit="results/{actor}/filmed_fit.h5",
        features=(
            [
                "results/{subject}/{model}/cross/{actor}/features.h5",
                "results/{subject}/picture_features.h5",
            ]
            if FID_ASSETS or CSIM_ASSETS
            else []
        ),
    output:
        "results/{subject}/{model}/cross/{actor}/scores.h5",
    log:
        "results/logs/{subject}/{model}/cross_{actor}_scores.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/cross_{actor}_scores.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(15),
    params:
        code=code_digest("evaluation.cross_scores"),
    shell:
        "python -m evaluation.cross_scores"
        " --render {input.render:q}"
        " --avatar {input.avatar:q}"
        " --render-landmarks {input.render_landmarks:q}"
        " --render-fit {input.render_fit:q}"
        " --driver-fit {input.driver_fit:q}"
        " --out {output:q}"
        " --features {input.features:q}"
        " > {log:q} 2>&1"
