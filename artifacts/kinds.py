"""Every artifact kind of the pipeline, one constant per file that a rule writes."""

from artifacts.schema import ArraySpec, ArtifactSpec

PIXEL = "pixel; (0, 0) is the centre of the top-left pixel"
RGB = "sRGB, 0..255"
OPACITY = "opacity, 0..255"
HEAD_METRE = "metre; head axes: x to the subject's left, y up, z out of the face"

FRAMES = ArtifactSpec(
    kind="frames",
    version=(1, 0),
    arrays={
        "image": ArraySpec(
            "uint8", ("frame", "height", "width", 3), RGB, "Square head crop of each frame."
        ),
        "time_s": ArraySpec(
            "float64", ("frame",), "second from the start of the clip", "Time of each frame."
        ),
        "frame_rate_hz": ArraySpec("float64", (), "hertz", "Frames per second after resampling."),
        "source_from_crop": ArraySpec(
            "float64",
            (3, 3),
            PIXEL,
            "Homogeneous similarity: source pixel = source_from_crop @ crop pixel.",
        ),
        "source_size": ArraySpec(
            "int32", (2,), "pixel", "Width, height of the upright source frame."
        ),
        "audio": ArraySpec(
            "int16", ("sample",), "full scale 32768", "Mono sound; empty where the clip has none."
        ),
        "audio_rate_hz": ArraySpec("int32", (), "hertz", "Sample rate of the sound (16000)."),
        "has_audio": ArraySpec("bool", (), "1", "False where the clip has no sound."),
    },
)

LANDMARKS = ArtifactSpec(
    kind="landmarks",
    version=(1, 0),
    arrays={
        "points": ArraySpec(
            "float32",
            ("frame", "landmark", 3),
            PIXEL + " of the input image; z on the same scale, smaller is nearer",
            "The 478 MediaPipe points (468 refined face points, then 5 points of each iris), or the classic 68, whose z is 0; their number says which.",
        ),
        "confidence": ArraySpec("float32", ("frame",), "1", "Face presence in 0..1."),
        "valid": ArraySpec("bool", ("frame",), "1", "False where the face was not found."),
        "image_size": ArraySpec(
            "int32", (2,), "pixel", "Width, height of the images the points live in."
        ),
    },
)

AGREE = ArtifactSpec(
    kind="agree",
    version=(1, 0),
    arrays={
        "landmark_set": ArraySpec(
            "str", (2,), "text", "Whose points the first and the second landmarks are."
        ),
        "region": ArraySpec("str", ("region",), "text", "jaw, brows, nose, eyes, mouth."),
        "difference": ArraySpec(
            "float32",
            ("frame", "region"),
            "outer-eye-corner distance",
            "Mean distance of the points that both have, at the jaw from the other's outline; 0 where not valid.",
        ),
        "differs": ArraySpec(
            "bool", ("frame", "region"), "1", "True where the difference is above the threshold."
        ),
        "threshold": ArraySpec(
            "float64", (), "outer-eye-corner distance", "What counts as a difference."
        ),
        "found": ArraySpec(
            "bool", ("frame", 2), "1", "Whether the first and the second found the face."
        ),
        "valid": ArraySpec("bool", ("frame",), "1", "False where not both found the face."),
    },
)

MATTE = ArtifactSpec(
    kind="matte",
    version=(1, 0),
    arrays={
        "alpha": ArraySpec(
            "uint8", ("frame", "height", "width"), OPACITY, "Soft opacity of the person."
        ),
    },
)

HEAD_MODEL = ArtifactSpec(
    kind="head_model",
    version=(1, 1),
    arrays={
        "template": ArraySpec(
            "float32", ("vertex", 3), HEAD_METRE, "Mean head, neutral expression."
        ),
        "identity_basis": ArraySpec(
            "float32",
            ("identity", "vertex", 3),
            "1",
            "Directions of shape of unit length (orthonormal where the model's are), most varied first.",
        ),
        "identity_std": ArraySpec(
            "float32",
            ("identity",),
            "metre",
            "Standard deviation along each direction; coefficients are in units of it.",
        ),
        "expression_basis": ArraySpec(
            "float32", ("expression", "vertex", 3), HEAD_METRE, "Displacement at coefficient 1."
        ),
        "expression_name": ArraySpec(
            "str",
            ("expression",),
            "text",
            "Name of each expression (ARKit names where they exist).",
        ),
        "expression_lower": ArraySpec(
            "float32", ("expression",), "1", "Smallest sensible coefficient."
        ),
        "expression_upper": ArraySpec(
            "float32", ("expression",), "1", "Largest sensible coefficient."
        ),
        "joint_name": ArraySpec(
            "str",
            ("joint",),
            "text",
            "head, neck, eye_left, eye_right and, where it serves, jaw, in any order: look them up by name.",
        ),
        "joint_parent": ArraySpec(
            "int32", ("joint",), "1", "Index of each joint's parent; -1 for the root."
        ),
        "joint_regressor": ArraySpec(
            "float32",
            ("joint", "vertex"),
            "1",
            "Joint positions = regressor @ neutral shaped vertices; rows sum to 1.",
        ),
        "skin_weight": ArraySpec(
            "float32", ("vertex", "joint"), "1", "Linear blend skinning; rows sum to 1."
        ),
        "triangle": ArraySpec(
            "int32", ("face", 3), "1", "Vertex indices, counter-clockwise seen from outside."
        ),
        "uv": ArraySpec(
            "float32",
            ("uv_vertex", 2),
            "1; (0, 0) is the top-left corner of the texture, v runs down",
            "Texture coordinates.",
        ),
        "triangle_uv": ArraySpec(
            "int32", ("face", 3), "1", "Indices into uv of each triangle's corners."
        ),
        "vertex_part": ArraySpec("int32", ("vertex",), "1", "Index into part_name."),
        "part_name": ArraySpec(
            "str",
            ("part",),
            "text",
            "face, scalp, ear, neck, lips, eye_left, eye_right, teeth, tongue, mouth_cavity, and, where it serves, "
            "eye_socket; a part that the model lacks has no vertices.",
        ),
        "mirror_vertex": ArraySpec(
            "int32",
            ("vertex",),
            "1",
            "Index of each vertex's mirror image, left and right exchanged.",
        ),
        "mediapipe_face": ArraySpec(
            "int32", ("mediapipe",), "1", "Triangle that carries each of the 478 points."
        ),
        "mediapipe_barycentric": ArraySpec(
            "float32", ("mediapipe", 3), "1", "Barycentric coordinates in that triangle."
        ),
        "mediapipe_weight": ArraySpec(
            "float32",
            ("mediapipe",),
            "1",
            "Trust in each point, 0..1; 0 where the point has no stable place on the mesh.",
        ),
        "sparse68_face": ArraySpec(
            "int32", (68,), "1", "Triangle that carries each of the classic 68 points."
        ),
        "sparse68_barycentric": ArraySpec(
            "float32", (68, 3), "1", "Barycentric coordinates in that triangle."
        ),
        "corrective_joint": ArraySpec(
            "int32",
            ("corrective",),
            "1",
            "Joint whose rotation drives each pose corrective; none where the model has no correctives.",
            since_minor=1,
        ),
        "pose_corrective": ArraySpec(
            "float32",
            ("corrective", 9, "vertex", 3),
            HEAD_METRE,
            "Displacement of the unposed mesh per element (row-major) of R - I, R being that joint's local rotation.",
            since_minor=1,
        ),
        "joint_expression": ArraySpec(
            "float32",
            ("moving_expression", "joint", 3),
            HEAD_METRE,
            "Displacement of the joints by each expression at coefficient 1; no rows where joints follow identity alone.",
            since_minor=1,
        ),
        "albedo_mean": ArraySpec(
            "float32",
            ("albedo_vertex", 3),
            "sRGB, 0..1",
            "Mean colour of each vertex without light; no rows where the model has no colours.",
            since_minor=1,
        ),
        "albedo_basis": ArraySpec(
            "float32",
            ("albedo", "albedo_vertex", 3),
            "1",
            "Directions of colour of unit length, most varied first.",
            since_minor=1,
        ),
        "albedo_std": ArraySpec(
            "float32",
            ("albedo",),
            "sRGB, 0..1",
            "Standard deviation along each direction; coefficients are in units of it.",
            since_minor=1,
        ),
    },
)

CORRESPONDENCE = ArtifactSpec(
    kind="correspondence",
    version=(1, 0),
    arrays={
        "face": ArraySpec(
            "int32",
            ("vertex",),
            "1",
            "Triangle of the source model that each vertex of the target model lies on.",
        ),
        "barycentric": ArraySpec(
            "float32", ("vertex", 3), "1", "Barycentric coordinates in that triangle."
        ),
        "weight": ArraySpec(
            "float32",
            ("vertex",),
            "1",
            "Trust, 0..1; 0 for vertices without a counterpart: eyes, inside of the mouth, beyond a border.",
        ),
        "residual_m": ArraySpec(
            "float32",
            ("vertex",),
            "metre",
            "Distance of the registered vertex from the source's surface; 0 where the weight is 0.",
        ),
    },
)

FACE_FIT = ArtifactSpec(
    kind="face_fit",
    version=(1, 2),
    arrays={
        "identity": ArraySpec(
            "float32", ("identity",), "standard deviation", "Shape coefficients of the subject."
        ),
        "expression": ArraySpec(
            "float32", ("frame", "expression"), "1", "Expression coefficients of each frame."
        ),
        "joint_rotation": ArraySpec(
            "float32",
            ("frame", "joint", 3),
            "radian; axis-angle in head axes",
            "Local rotation of each joint of the head model.",
        ),
        "world_from_head": ArraySpec(
            "float64",
            ("frame", 4, 4),
            "metre",
            "Rigid motion from head axes to world axes (OpenCV axes of the first camera).",
        ),
        "camera_from_world": ArraySpec(
            "float64",
            ("frame", 4, 4),
            "metre; OpenCV camera axes",
            "Camera pose; identity for a static camera.",
        ),
        "intrinsics": ArraySpec(
            "float64", (3, 3), "pixel of the head crop", "Pinhole matrix, shared by all frames."
        ),
        "image_size": ArraySpec(
            "int32", (2,), "pixel", "Width, height of the images that intrinsics belongs to."
        ),
        "landmark_offset": ArraySpec(
            "float32",
            ("landmark", 3),
            HEAD_METRE,
            "Personal offset of each landmark from its place on the mesh; as many as the detector finds (478 or 68).",
        ),
        "nme": ArraySpec(
            "float32",
            ("frame",),
            "outer-eye-corner distance",
            "Mean distance of the usable landmarks after projection; 0 where not valid.",
        ),
        "valid": ArraySpec(
            "bool",
            ("frame",),
            "1",
            "False where the frame was filled in from its neighbours: no landmarks were found, or the head does not explain "
            "those found or the picture (a hand or an object before the face, a profile).",
        ),
        "torso_from_reference": ArraySpec(
            "float64",
            ("frame", 3, 3),
            PIXEL,
            "Homogeneous similarity that moves torso pixels of the reference frame to this frame.",
        ),
        "torso_reference_frame": ArraySpec(
            "int32", (), "1", "Index of the reference frame of the torso."
        ),
        "torso_valid": ArraySpec(
            "bool",
            ("frame",),
            "1",
            "False where the torso was not tracked and its motion was filled in.",
        ),
        "vertex_offset": ArraySpec(
            "float32",
            ("vertex", 3),
            HEAD_METRE,
            "Personal displacement of the neutral mesh beyond its identity: outline, hair, ears, face; 0 without.",
            since_minor=1,
        ),
        "expression_offset": ArraySpec(
            "float32",
            ("own_expression", "own_vertex", 3),
            HEAD_METRE,
            "Personal change of what each expression's coefficient of 1 displaces; no rows without a photometric fit.",
            since_minor=2,
        ),
        "outline_iou": ArraySpec(
            "float32",
            ("frame",),
            "1",
            "Intersection over union of the posed mesh above the neck cut and the head's matte; 0 where not measured.",
            since_minor=1,
        ),
        "albedo": ArraySpec(
            "uint8",
            ("texel_row", "texel_column", 3),
            RGB,
            "Colour of the skin without light, on the head model's texture; no texels without a photometric fit.",
            since_minor=1,
        ),
        "albedo_seen": ArraySpec(
            "uint8",
            ("texel_row", "texel_column"),
            OPACITY,
            "How well each texel was seen; unseen ones are filled in from around.",
            since_minor=1,
        ),
        "light": ArraySpec(
            "float32",
            ("lit_frame", 9, 3),
            "1; linear RGB, camera axes",
            "Second-order spherical harmonics of each frame's light; no rows without a photometric fit.",
            since_minor=1,
        ),
        "photometric_error": ArraySpec(
            "float32",
            ("lit_frame",),
            "1; sRGB in 0..1",
            "Mean absolute difference of picture and lit albedo on the skin seen; 0 where not valid.",
            since_minor=1,
        ),
    },
)

AUDIO_FEATURES = ArtifactSpec(
    kind="audio_features",
    version=(1, 0),
    arrays={
        "feature": ArraySpec(
            "float32",
            ("frame", 16, "channel"),
            "1; see provenance for the kind",
            "Window of 16 feature vectors around each video frame.",
        ),
        "valid": ArraySpec(
            "bool", ("frame",), "1", "False where the clip has no sound (features are 0)."
        ),
    },
)

SYNC = ArtifactSpec(
    kind="sync",
    version=(1, 0),
    arrays={
        "lag": ArraySpec(
            "int32", ("lag",), "frame", "Lags that were tried; positive: the sound is late."
        ),
        "score": ArraySpec(
            "float32",
            ("lag",),
            "correlation",
            "How well the mouth opening follows from the sound at that lag, cross-validated.",
        ),
        "chance_score": ArraySpec(
            "float32", (), "correlation", "Best score that one in twenty chance results exceeds."
        ),
        "confidence": ArraySpec(
            "float32", (), "1", "Share of chance results that score less, 0..1; 0 if not tried."
        ),
        "is_found": ArraySpec(
            "bool", (), "1", "False where the lag cannot be told (silence, no speech, too short)."
        ),
        "lag_frames": ArraySpec(
            "float64",
            (),
            "frame",
            "Frames by which the sound is late, negative if early; 0 where not found.",
        ),
        "lag_std_frames": ArraySpec(
            "float64", (), "frame", "Standard deviation of lag_frames; 0 where not found."
        ),
        "is_out_of_step": ArraySpec(
            "bool", (), "1", "True where the lag is beyond two frames, its deviation allowed for."
        ),
        "audio_shift_s": ArraySpec(
            "float64",
            (),
            "second",
            "Value of the subject's audio_shift_s with which the lag would be 0; the one in use where not found.",
        ),
        "verdict": ArraySpec("str", (), "text", "The result in one sentence."),
        "frame_rate_hz": ArraySpec("float64", (), "hertz", "Frames per second of the clip."),
        "mouth_opening": ArraySpec(
            "float32",
            ("frame",),
            "distance of the outer eye corners",
            "Distance of the inner lips.",
        ),
        "mouth_valid": ArraySpec("bool", ("frame",), "1", "False where the face was not found."),
        "mouth_predicted": ArraySpec(
            "float32",
            ("frame",),
            "distance of the outer eye corners",
            "Opening predicted from the sound at the best lag, by a regression on other parts of the clip.",
        ),
        "predicted_valid": ArraySpec(
            "bool", ("frame",), "1", "False in frames without a prediction (it is 0 there)."
        ),
    },
)

AVATAR = ArtifactSpec(
    kind="avatar",
    version=(1, 0),
    arrays={
        "model_name": ArraySpec("str", (), "text", "Registered name of the model."),
        "model_config": ArraySpec("str", (), "YAML", "The model's options as they were used."),
        "image_size": ArraySpec(
            "int32", (2,), "pixel", "Width, height of the images the avatar was trained on."
        ),
        "train_frame": ArraySpec(
            "int32", ("train_frame",), "1", "Indices of the frames it was trained on."
        ),
        "loss_step": ArraySpec("int32", ("loss_step",), "1", "Step of each logged loss."),
        "loss_name": ArraySpec("str", ("loss_term",), "text", "Name of each logged loss term."),
        "loss": ArraySpec(
            "float32", ("loss_step", "loss_term"), "1", "Logged losses, mean since the last entry."
        ),
        "training_time_s": ArraySpec(
            "float64", (), "second", "Wall-clock time spent in training, all resumed runs together."
        ),
        "peak_memory_bytes": ArraySpec(
            "int64", (), "byte", "Largest resident memory of the process (GPU memory on CUDA)."
        ),
        "device_name": ArraySpec("str", (), "text", "Device the training ran on."),
    },
    tensor_group="state",
)

RENDER = ArtifactSpec(
    kind="render",
    version=(1, 1),
    arrays={
        "image": ArraySpec(
            "uint8", ("frame", "height", "width", 3), RGB, "Head over torso over background."
        ),
        "person": ArraySpec(
            "uint8", ("frame", "height", "width", 3), RGB, "Head over torso over white."
        ),
        "head": ArraySpec("uint8", ("frame", "height", "width", 3), RGB, "Head alone over white."),
        "person_alpha": ArraySpec(
            "uint8", ("frame", "height", "width"), OPACITY, "Opacity of head and torso together."
        ),
        "head_alpha": ArraySpec(
            "uint8", ("frame", "height", "width"), OPACITY, "Opacity of the head alone."
        ),
        "driver_frame": ArraySpec(
            "int32", ("frame",), "1", "Index in the driving clip of each rendered frame."
        ),
        "time_s": ArraySpec(
            "float64",
            ("frame",),
            "second from the start of the driving clip",
            "Time of each rendered frame.",
        ),
        "render_time_s": ArraySpec(
            "float32",
            ("frame",),
            "second",
            "Wall-clock time of each frame, without reading and writing.",
        ),
        "direction": ArraySpec(
            "int32",
            ("navigated_frame",),
            "1",
            "Principal axis of the training's places in the model's subspace that each frame moves along, the longest first; none but in mode navigation.",
            since_minor=1,
        ),
        "amount": ArraySpec(
            "float32",
            ("navigated_frame",),
            "standard deviation of the training",
            "How far each frame lies along its axis from the training's middle; none but in mode navigation.",
            since_minor=1,
        ),
    },
)

SCORES = ArtifactSpec(
    kind="scores",
    version=(1, 0),
    arrays={
        "frame_metric": ArraySpec(
            "str", ("frame_metric",), "text", "Name of each metric that has a value per frame."
        ),
        "frame_metric_unit": ArraySpec("str", ("frame_metric",), "text", "Unit of each of them."),
        "frame_value": ArraySpec(
            "float32",
            ("frame_metric", "frame"),
            "see frame_metric_unit",
            "Value per test frame; 0 where not valid.",
        ),
        "frame_valid": ArraySpec(
            "bool",
            ("frame_metric", "frame"),
            "1",
            "False where the metric has no value in that frame.",
        ),
        "driver_frame": ArraySpec(
            "int32", ("frame",), "1", "Index in the clip of each scored frame."
        ),
        "clip_metric": ArraySpec(
            "str", ("clip_metric",), "text", "Name of each metric that has one value for the clip."
        ),
        "clip_metric_unit": ArraySpec("str", ("clip_metric",), "text", "Unit of each of them."),
        "clip_value": ArraySpec(
            "float64", ("clip_metric",), "see clip_metric_unit", "Value for the clip."
        ),
        "missing_metric": ArraySpec(
            "str", ("missing_metric",), "text", "Metrics that could not be computed."
        ),
        "missing_reason": ArraySpec("str", ("missing_metric",), "text", "Why, and what to fetch."),
    },
)

PICTURE_FEATURES = ArtifactSpec(
    kind="picture_features",
    version=(1, 0),
    arrays={
        "image_size": ArraySpec(
            "int32", (2,), "pixel", "Width, height of the pictures (the person over white)."
        ),
        "inception": ArraySpec(
            "float32",
            ("frame", "inception_feature"),
            "1",
            "Features of each picture that FID compares; no columns where they were not wanted.",
        ),
        "identity": ArraySpec(
            "float32",
            ("frame", "identity_feature"),
            "1",
            "ArcFace embedding of each face, length 1 (0 where no face was found); no columns where it was not wanted.",
        ),
        "identity_valid": ArraySpec(
            "bool", ("frame",), "1", "False where no face was found, or nobody wanted it."
        ),
    },
)

TRUTH = ArtifactSpec(
    kind="truth",
    version=(1, 0),
    arrays={
        "identity": ArraySpec(
            "float32", ("identity",), "standard deviation", "Shape coefficients of the person."
        ),
        "expression": ArraySpec(
            "float32", ("frame", "expression"), "1", "Expression coefficients of each frame."
        ),
        "joint_rotation": ArraySpec(
            "float32",
            ("frame", "joint", 3),
            "radian; axis-angle in head axes",
            "Local rotation of each joint of the head model; those of the eyes are the gaze.",
        ),
        "vertex": ArraySpec(
            "float32", ("frame", "vertex", 3), HEAD_METRE, "Posed vertices of the head model."
        ),
        "world_from_head": ArraySpec(
            "float64",
            ("frame", 4, 4),
            "metre",
            "Rigid motion from head axes to world axes (OpenCV axes of the camera).",
        ),
        "world_from_torso": ArraySpec(
            "float64",
            ("frame", 4, 4),
            "metre",
            "Rigid motion from the head axes of a head at rest on the torso to world axes.",
        ),
        "camera_from_world": ArraySpec(
            "float64",
            ("frame", 4, 4),
            "metre; OpenCV camera axes",
            "Camera pose; the identity, the camera stands still.",
        ),
        "intrinsics": ArraySpec(
            "float64", (3, 3), "pixel of the clip", "Pinhole matrix, shared by all frames."
        ),
        "image_size": ArraySpec("int32", (2,), "pixel", "Width, height of the clip."),
        "time_s": ArraySpec(
            "float64", ("frame",), "second from the start of the clip", "Time of each frame."
        ),
        "frame_rate_hz": ArraySpec("float64", (), "hertz", "Frames per second."),
        "normal": ArraySpec(
            "int8",
            ("frame", "height", "width", 3),
            "1/127; OpenCV camera axes",
            "Unit normal of what each pixel shows, towards the camera; 0 on the background.",
        ),
        "depth": ArraySpec(
            "float16",
            ("frame", "height", "width"),
            "metre; z in OpenCV camera axes",
            "Depth of what each pixel shows; 0 on the background.",
        ),
        "part": ArraySpec(
            "uint8",
            ("frame", "height", "width"),
            "1",
            "Index into part_name of what most of each pixel shows.",
        ),
        "part_name": ArraySpec(
            "str",
            ("part",),
            "text",
            "background, the parts of the head model, chest, garment, hair.",
        ),
        "alpha": ArraySpec(
            "uint8", ("frame", "height", "width"), OPACITY, "Opacity of the person."
        ),
        "head_alpha": ArraySpec(
            "uint8",
            ("frame", "height", "width"),
            OPACITY,
            "Opacity of head, neck and hair, where they are seen.",
        ),
        "albedo": ArraySpec(
            "uint8",
            ("texel_row", "texel_column", 3),
            RGB,
            "Colour of the head without light, on the head model's texture; black where no triangle lies.",
        ),
        "light": ArraySpec(
            "float32",
            (9, 3),
            "1; linear RGB, world axes",
            "Radiance as orthonormal real spherical harmonics: 1, y, z, x, xy, yz, 3z² - 1, xz, x² - y².",
        ),
        "bust_vertex": ArraySpec(
            "float32",
            ("bust_vertex", 3),
            HEAD_METRE + " of the head at rest",
            "Chest and clothes; they move with world_from_torso.",
        ),
        "bust_triangle": ArraySpec(
            "int32", ("bust_face", 3), "1", "Vertex indices, counter-clockwise seen from outside."
        ),
        "hair_vertex": ArraySpec(
            "float32",
            ("hair_vertex", 3),
            HEAD_METRE + " of the head at rest",
            "Shell of the hair; its edges are partly transparent.",
        ),
        "hair_triangle": ArraySpec(
            "int32", ("hair_face", 3), "1", "Vertex indices, counter-clockwise seen from outside."
        ),
        "hair_torso_share": ArraySpec(
            "float32",
            ("hair_vertex",),
            "1",
            "How far each vertex follows world_from_torso (1) instead of world_from_head (0).",
        ),
        "phoneme": ArraySpec(
            "str", ("phoneme",), "text; IPA", "Each phoneme spoken; empty where there is silence."
        ),
        "phoneme_start_s": ArraySpec(
            "float64", ("phoneme",), "second from the start of the clip", "Start of each phoneme."
        ),
        "phoneme_end_s": ArraySpec(
            "float64", ("phoneme",), "second from the start of the clip", "End of each phoneme."
        ),
        "text": ArraySpec("str", (), "text", "What is said, as far as the clip lasts."),
        "voice": ArraySpec("str", (), "text", "The voice of espeak-ng that says it."),
    },
)

PRIOR_PICTURES = ArtifactSpec(
    kind="prior_pictures",
    version=(1, 0),
    arrays={
        "image": ArraySpec(
            "uint8",
            ("picture", "height", "width", 3),
            RGB + "; times opacity",
            "Head, neck and hair of a synthetic person over black.",
        ),
        "alpha": ArraySpec(
            "uint8", ("picture", "height", "width"), OPACITY, "Opacity of the head."
        ),
        "moment": ArraySpec(
            "int32", ("picture",), "1", "Which person, expression and light a picture shows."
        ),
        "camera_from_head": ArraySpec(
            "float64",
            ("picture", 4, 4),
            "metre; OpenCV camera axes",
            "Rigid motion from head axes.",
        ),
        "intrinsics": ArraySpec("float64", ("picture", 3, 3), PIXEL, "Pinhole matrix."),
        "person_seed": ArraySpec("int32", ("moment",), "1", "Seed of the person of each moment."),
        "known_name": ArraySpec("str", ("known",), "text", "What is known of each moment."),
        "known": ArraySpec(
            "float32",
            ("moment", "known"),
            "standard deviation, share, radian or logarithm of linear RGB",
            "Shape, looks, expression and light of each moment.",
        ),
        "pivot": ArraySpec("float64", (3,), HEAD_METRE, "What the cameras look at."),
    },
)

KINDS: dict[str, ArtifactSpec] = {
    spec.kind: spec
    for spec in (
        FRAMES,
        LANDMARKS,
        AGREE,
        MATTE,
        HEAD_MODEL,
        CORRESPONDENCE,
        FACE_FIT,
        AUDIO_FEATURES,
        SYNC,
        AVATAR,
        RENDER,
        SCORES,
        PICTURE_FEATURES,
        TRUTH,
        PRIOR_PICTURES,
    )
}
