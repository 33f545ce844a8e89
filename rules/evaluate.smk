rule tables:
    """Gather all scores in one long table, with bootstrap confidence intervals."""
    input:
        scores=expand(
            "results/{subject}/{model}/scores.h5",
            subject=AVATAR_SUBJECTS,
            model=MODELS,
        ),
        crossed=CROSS_SCORES,
    output:
        csv=report(
            "results/tables/scores.csv",
            caption="../workflow/report/scores.rst",
            category="Tables",
        ),
        markdown="results/tables/scores.md",
    log:
        "results/logs/tables.log",
    benchmark:
        "results/benchmarks/tables.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    # Measured on 2 cores: 1 s, 95 MB for the demo; 12 s, 244 MB for 300 files of 1000 frames.
    resources:
        mem_mb=growing(500 + len(AVATAR_SUBJECTS) * len(MODELS)),
        runtime=growing(10 + len(AVATAR_SUBJECTS) // 20),
    params:
        # The files of a thousand subjects are more than a command line holds.
        scores=lambda wildcards: SCORES_PATTERN,
        subjects=AVATAR_SUBJECTS,
        models=MODELS,
        splits=SPLITS,
        drivers=SUBJECTS if CROSS_SCORES else [],
        seed=config["seed"],
        code=code_digest("evaluation.tables"),
    shell:
        "python -m evaluation.tables"
        " --scores {params.scores:q}"
        " --subjects {params.subjects:q}"
        " --models {params.models:q}"
        " --splits {params.splits}"
        " --drivers {params.drivers:q}"
        " --seed {params.seed}"
        " --csv {output.csv:q}"
        " --markdown {output.markdown:q}"
        " > {log:q} 2>&1"


rule licences:
    """List the terms of every third-party file and library that the results rest on."""
    output:
        report("results/licences.md", category="Licences"),
    log:
        "results/logs/licences.log",
    benchmark:
        "results/benchmarks/licences.tsv"
    conda:
        "../envs/assets.yaml"
    threads: 1
    # Measured on 2 cores: 0.5 s, 9 MB.
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        names=USED_ASSETS,
        code=code_digest("assets.licences"),
    shell:
        "python -m assets.licences"
        " --names {params.names:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"


rule records:
    """Collect what is to be kept of the run: where every artifact came from, licences, where each consent is on file."""
    input:
        ARTIFACTS,
        RENDERS,
        NAVIGATIONS,
        CROSS_SCORES,
        config=CONFIG_FILES,
        sheet=SUBJECT_SHEET,
    output:
        "results/records.json",
    log:
        "results/logs/records.log",
    benchmark:
        "results/benchmarks/records.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    # Measured on 2 busy cores for 20 subjects of 10 small files each: 6 s, 58 MB. Every file is read: 3.5 s of a core a gigabyte.
    resources:
        mem_mb=growing(500),
        runtime=growing(30 + len(SUBJECTS)),
    params:
        options=record_options(),
        code=code_digest("evaluation.records"),
    shell:
        "python -m evaluation.records"
        " {params.options:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"


rule fit_report:
    """Show a subject's track on one self-contained page, and judge whether the clip is good enough to train on."""
    input:
        frames="results/{subject}/frames.h5",
        landmarks="results/{subject}/landmarks.h5",
        matte="results/{subject}/matte.h5",
        face_fit="results/{subject}/face_fit.h5",
        sync="results/{subject}/sync.h5",
        head_model=head_model_of,
    output:
        report(
            "results/report/fit_{subject}.html",
            caption="../workflow/report/fit_report.rst",
            category="Report",
        ),
    log:
        "results/logs/{subject}/fit_report.log",
    benchmark:
        "results/benchmarks/{subject}/fit_report.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    # Measured on one busy core: 63 s, 589 MB for 16 s of video (482 px, photometric fit).
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        split=subject_option("split"),
        templates=file_digests("evaluation/templates"),
        code=code_digest("evaluation.fit_report"),
    shell:
        "python -m evaluation.fit_report"
        " --subject {wildcards.subject:q}"
        " --frames {input.frames:q}"
        " --landmarks {input.landmarks:q}"
        " --matte {input.matte:q}"
        " --face-fit {input.face_fit:q}"
        " --sync {input.sync:q}"
        " --head-model {input.head_model:q}"
        " --split {params.split}"
        " --out {output:q}"
        " > {log:q} 2>&1"


rule report:
    """Show everything on one self-contained page, or on one page per person: films, error maps, curves, tables, provenance."""
    input:
        RENDERS,
        NAVIGATIONS,
        expand("results/{subject}/{step}.h5", subject=SUBJECTS, step=CLIP_STEPS),
        expand(
            "results/{subject}/{model}/scores.h5",
            subject=AVATAR_SUBJECTS,
            model=MODELS,
        ),
        FIT_PAGES,
        table="results/tables/scores.csv",
        licences="results/licences.md",
        records="results/records.json",
        head_models=HEAD_MODEL_OF_AVATARS,
        config=CONFIG_FILES[-1],
    output:
        page=report(
            "results/report/index.html",
            caption="../workflow/report/report.rst",
            category="Report",
        ),
        contacts=expand("results/report/contact_{subject}.png", subject=AVATAR_SUBJECTS),
        subjects=SUBJECT_PAGES,
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    # Measured on 2 cores for the demo clip (100 frames, 128 px, tiny): 8 s, 568 MB.
    resources:
        mem_mb=growing(2000),
        runtime=growing(30 + len(AVATAR_SUBJECTS)),
    params:
        subjects=AVATAR_SUBJECTS,
        drivers=[*ONLY_DRIVERS, *DRIVERS, *SOUNDS],
        models=MODELS,
        pages=option_words({"subject_pages": bool(SUBJECT_PAGES)}),
        templates=file_digests("evaluation/templates"),
        code=code_digest("evaluation.report"),
    shell:
        "python -m evaluation.report"
        " --results results"
        " --subjects {params.subjects:q}"
        " --drivers {params.drivers:q}"
        " --models {params.models:q}"
        " --head-models {input.head_models:q}"
        " --config {input.config:q}"
        " --out {output.page:q}"
        " {params.pages}"
        " > {log:q} 2>&1"


rule navigation:
    """What moving along each direction of a model's subspace changes: the expression, or the person."""
    input:
        render="results/{subject}/{model}/render_navigation.h5",
        landmarks="results/{subject}/{model}/render_navigation_landmarks.h5",
    output:
        csv="results/{subject}/{model}/navigation.csv",
        picture=report(
            "results/{subject}/{model}/navigation.png",
            caption="../workflow/report/navigation.rst",
            category="Directions",
            subcategory="{subject}",
            labels={"model": "{model}"},
        ),
    log:
        "results/logs/{subject}/{model}/navigation.log",
    benchmark:
        "results/benchmarks/{subject}/{model}/navigation.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    # An estimate: 250 pictures of 128 px are 16 MB, the rest is the interpreter.
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_digest("evaluation.navigation"),
    shell:
        "python -m evaluation.navigation"
        " --render {input.render:q}"
        " --landmarks {input.landmarks:q}"
        " --csv {output.csv:q}"
        " --picture {output.picture:q}"
        " > {log:q} 2>&1"
