"""Make a clip of a person who does not exist, and the whole truth about it.

A random identity of the head model gets skin, eyes, hair and clothes, a light and a camera, says random sentences
and moves as people do. The clip is one like any other; beside it lie shape, expression, cameras, light, the
phonemes with their times, and normals, depth, parts and mattes of every pixel. Equal options give equal files.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int16, UInt8
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import TRUTH
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import ArtifactWriter, open_writer
from head_geometry.colours import srgb_from_linear
from head_geometry.head_model import HeadModel
from media.video import VideoWriter
from preprocessing.synthesis.motion import Motion, Pose
from preprocessing.synthesis.person import Person, make_person
from preprocessing.synthesis.render import Drawn, Renderer
from preprocessing.synthesis.scene import Scene
from preprocessing.synthesis.sentences import choose_text
from preprocessing.synthesis.speech import Speech, Voice, speak

log = logging.getLogger(__name__)
LONGEST_S, SMALLEST_PX, LARGEST_PX = 3600.0, 64, 2048
SLOWEST_HZ, FASTEST_HZ = 5.0, 120.0
# Variants of espeak-ng's voices that make the same sound every time.
FEMININE_VOICES = ("f1", "f4", "linda", "steph", "belinda")
MASCULINE_VOICES = ("m1", "m2", "m3", "m4", "m5", "m6", "m7")
NEEDED_JOINTS = ("head", "neck", "eye_left", "eye_right")
NEEDED_ACTIONS = (
    *("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "browInnerUp"),
    *(
        name + side
        for name in ("eyeBlink", "eyeLookDown", "eyeLookUp", "browOuterUp", "browDown")
        for side in ("Left", "Right")
    ),
    *(name + side for name in ("mouthSmile", "cheekSquint") for side in ("Left", "Right")),
)
NEEDED_PARTS = (
    *("face", "scalp", "ear", "neck", "lips", "eye_left", "eye_right", "teeth", "tongue"),
    "mouth_cavity",
)


@dataclass(frozen=True)
class Options:
    """Make a synthetic clip with its truth."""

    head_model: Path
    """head_model artifact of the default head model."""
    video: Path
    """The clip to write (.mp4)."""
    out: Path
    """The truth artifact to write."""
    seed: int = 0
    """Random seed: another seed is another person who says and does something else."""
    duration_s: float = 6.0
    """Length of the clip, seconds."""
    size_px: int = 256
    """Width and height of the clip, pixels (even)."""
    frame_rate_hz: float = 25.0
    """Frames per second."""
    text: str = ""
    """What is said, followed by silence where it is shorter than the clip; empty for random sentences."""
    voice: str = ""
    """Voice of espeak-ng, such as en-us+f2 or de; empty for a random English one."""
    texture_px: int = 1024
    """Width and height of the albedo texture of the truth, texels."""


def check_options(options: Options) -> None:
    """Refuse impossible values.

    Raises:
        InputError: naming the option.
    """
    if not (math.isfinite(options.duration_s) and 0 < options.duration_s <= LONGEST_S):
        raise InputError(
            f"--duration-s {options.duration_s:g} must be more than 0 and at most {LONGEST_S:g}; 6 is usual"
        )
    if not SMALLEST_PX <= options.size_px <= LARGEST_PX or options.size_px % 2:
        raise InputError(
            f"--size-px {options.size_px} must be even and from {SMALLEST_PX} to {LARGEST_PX}; 256 is usual"
        )
    if not SLOWEST_HZ <= options.frame_rate_hz <= FASTEST_HZ:
        raise InputError(
            f"--frame-rate-hz {options.frame_rate_hz:g} must be from {SLOWEST_HZ:g} to {FASTEST_HZ:g}; 25 is usual"
        )
    if options.seed < 0:
        raise InputError(f"--seed {options.seed} must not be negative")
    if not 16 <= options.texture_px <= 8192:
        raise InputError(f"--texture-px {options.texture_px} must be from 16 to 8192")


def check_model(model: HeadModel, path: Path) -> None:
    """Refuse a head model that cannot play a person.

    Raises:
        InputError: it lacks joints, facial actions or parts.
    """
    for what, needed, has in (
        ("joints", NEEDED_JOINTS, model.joint_name),
        ("facial actions", NEEDED_ACTIONS, model.expression_name),
        ("parts", NEEDED_PARTS, model.part_name),
    ):
        missing = [name for name in needed if name not in has]
        if missing:
            raise InputError(
                f"{path}: has no {what} {', '.join(missing)}; synthesize needs the default head model (anny)"
            )


def make_speech(
    options: Options, person: Person, random: np.random.Generator
) -> tuple[Speech, str, str]:
    """All that is said (more than the clip lasts, or less), its text, and the voice.

    Raises:
        InputError: there is no such voice.
    """
    # The voice first: how many sentences are drawn depends on the length.
    variants = FEMININE_VOICES if person.feminine > 0 else MASCULINE_VOICES
    variant = str(random.choice(variants))
    voice = Voice(
        name=options.voice or f"en-us+{variant}",
        words_per_minute=int(random.integers(135, 175)),
        pitch=int(random.integers(35, 65)),
        pitch_range=int(random.integers(40, 70)),
    )
    text = options.text or choose_text(random, options.duration_s)
    return speak(text, voice), text, voice.name


def fit_speech(speech: Speech, duration_s: float) -> Speech:
    """Speech cut, or followed by silence, to last ``duration_s``."""
    wanted = round(duration_s * speech.rate_hz)
    sound: Int16[np.ndarray, " sample"] = speech.sound[:wanted]
    kept = int(np.searchsorted(speech.start_s, duration_s))
    phoneme, start_s = speech.phoneme[:kept], speech.start_s[:kept]
    if len(sound) < wanted:
        phoneme, start_s = (*phoneme, ""), np.append(start_s, speech.duration_s)
        sound = np.pad(sound, (0, wanted - len(sound)))
    return replace(speech, sound=sound, phoneme=phoneme, start_s=start_s)


class TruthWriter:
    """Writes the truth frame by frame, so that memory does not grow with the clip."""

    def __init__(self, writer: ArtifactWriter) -> None:
        """``writer`` of a truth artifact."""
        self._writer = writer

    def append(self, pose: Pose, drawn: Drawn, vertices: np.ndarray, time_s: float) -> None:
        """Add one frame."""
        rows = {
            "expression": pose.expression.numpy(),
            "joint_rotation": pose.joint_rotation.numpy(),
            "world_from_head": pose.world_from_head.numpy(),
            "world_from_torso": pose.world_from_torso.numpy(),
            "vertex": vertices,
            "camera_from_world": np.eye(4),
            "time_s": np.float64(time_s),
        }
        pixels = {
            "normal": drawn.normal,
            "depth": drawn.depth,
            "part": drawn.part,
            "alpha": drawn.alpha,
            "head_alpha": drawn.head_alpha,
        }
        for name, value in rows.items():
            self._writer.append(name, np.asarray(value)[None])
        for name, value in pixels.items():
            self._writer.append(name, value[None], compressed=True)

    def put_scene(self, renderer: Renderer, albedo: UInt8[np.ndarray, "row column 3"]) -> None:
        """Add what does not change with time."""
        scene, put = renderer.scene, self._writer.put
        bust, hair = scene.bust.surface, scene.hair.surface
        side = scene.camera.size_px
        put("identity", scene.person.identity.numpy())
        put("intrinsics", scene.camera.intrinsics.double().numpy())
        put("image_size", np.array([side, side], np.int32))
        put("part_name", np.array(renderer.parts))
        put("albedo", albedo, compressed=True)
        put("light", scene.light.float().numpy())
        put("bust_vertex", bust.vertices.numpy())
        put("bust_triangle", bust.triangle.int().numpy())
        put("hair_vertex", hair.vertices.numpy())
        put("hair_triangle", hair.triangle.int().numpy())
        put("hair_torso_share", hair.torso_share.numpy())

    def put_speech(self, speech: Speech, text: str, voice: str) -> None:
        """Add what is said."""
        self._writer.put("phoneme", np.array(speech.phoneme))
        self._writer.put("phoneme_start_s", speech.start_s)
        self._writer.put("phoneme_end_s", speech.end_s)
        self._writer.put("text", text)
        self._writer.put("voice", voice)


def main(options: Options) -> None:
    """Make the clip.

    Raises:
        InputError: impossible options, an unknown voice, or another head model.
    """
    check_options(options)
    model = HeadModel.load(options.head_model)
    check_model(model, options.head_model)
    # Looks, words, scene and motion draw from streams of their own: a longer clip shows the same person.
    looks, words, scenery, moves = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(options.seed).spawn(4)
    )
    person = make_person(looks, len(model.identity_std))
    speech, text, voice = make_speech(options, person, words)
    heard = fit_speech(speech, options.duration_s)
    renderer = Renderer(Scene(model, person, scenery, options.size_px))
    scene = renderer.scene
    motion = Motion(model, speech, moves, scene.camera.world_from_rest, scene.neck_joint)
    albedo = srgb_from_linear(scene.paint.texture(options.texture_px))
    frames = max(1, round(options.duration_s * options.frame_rate_hz))
    size = (options.size_px, options.size_px)
    sound = (heard.sound, heard.rate_hz)
    provenance = make_provenance(
        "preprocessing.synthesize", options, {"head_model": options.head_model}, options.seed
    )
    with (
        open_writer(options.out, TRUTH, provenance) as writer,
        VideoWriter(options.video, options.frame_rate_hz, size, sound) as video,
    ):
        truth = TruthWriter(writer)
        truth.put_scene(renderer, (albedo * 255).round().byte().numpy())
        truth.put_speech(heard, text, voice)
        writer.put("frame_rate_hz", np.float64(options.frame_rate_hz))
        for frame in tqdm(range(frames), desc="frames", unit="frame", mininterval=1):
            time_s = frame / options.frame_rate_hz
            pose = motion.at(time_s)
            drawn, vertices = renderer.draw(pose, frame)
            video.write(drawn.image)
            truth.append(pose, drawn, vertices.numpy(), time_s)
    log.info(
        "%s: %d frames of a person with %s hair, voice %s",
        options.video,
        frames,
        person.hair_style,
        voice,
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.use_deterministic_algorithms(True)
    run_step(Options, main)
