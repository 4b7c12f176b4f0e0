# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shading data sets show: people in motion, three cameras about each, and lights (RiCS paper, appendix B).

A moment is one pose of one person, seen by three cameras that are spread evenly in front and track the chest, under
one or more lights. Both tiers render the same moments. The world has +z up, metres.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..body.builtin_motions import BUILTIN, builtin
from ..body.bvh import Bvh, load_bvh
from ..body.motion import INDEX, Motion, forward_kinematics, mirror, resample
from ..body.people import Person, make_person, pose_person
from ..body.retarget import retarget
from ..protocol import CHARACTER, Camera, Mesh
from ..rays.camera import crop_camera, look_at, perspective, pointing, project
from ..splits import is_test, is_test_light
from . import environments
from .crop import CROP, Box, crop_box
from .environments import Environment
from .place_light import DAYLIT, Place
from .traced import Skin

SPLITS = {"train": range(30), "test": range(100, 108)}  # seeds of the identities
VIEWS = 3
BUILT = 0.6  # share of built-in places among the lights
PLACE_LIGHTS = 8  # lights of one built-in place, after each other
TURNS = 4  # of one light, after each other, for training: making a light costs more than tracing a person under it
WINDOW = 4  # moments in a row of one person in one motion
STRIDE = 5  # motion frames between two of them; sequences have every one
ASPECTS = (3 / 2, 16 / 9, 4 / 3, 1.0, 3 / 4, 2 / 3, 9 / 16)
_TEST_PLACES = 1_000_000  # seeds of built-in places; those from here on are for tests
_LONG_SIDE = 1280  # pixels of the whole frame's longer side
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # SMPL's axes to the world's


@dataclass(frozen=True)
class Shot:
    """One camera's whole frame, and the crop of it that shows the person: `crop` sees `box` of it at 128 × 128."""

    camera: Camera
    crop: Camera
    box: Box


@dataclass(frozen=True)
class Moment:
    """skins: posed, world space. level: z of the ground. lights: under each of which the moment is rendered.

    joints: of each skin's vertices, the SMPL joint that moves it most. betas (10,), pose (24, 3) axis-angle and
    trans (3,) metres: of SMPL's body under the clothes, y up; see `Z_UP`.
    """

    identity: str
    clip: str
    frame: int
    skins: list[Skin]
    level: float
    shots: list[Shot]
    lights: list[Environment]
    joints: list[np.ndarray]
    betas: np.ndarray
    pose: np.ndarray
    trans: np.ndarray


@dataclass(frozen=True)
class Sources:
    """Where motions and lights come from; the split decides which of them may be used.

    motions: .bvh files, beside the built-in motions. panoramas: one list a folder, beside the built-in places; folders
    and skies are drawn from alike, whatever their sizes. A motion belongs to a split by its file's name, a panorama by
    its place's. light_split: of the lights, where it is another: unseen people in lights that were trained on are the
    paper's test set.
    """

    split: str
    motions: list[Path]
    panoramas: list[list[Path]]
    light_split: str = ""

    @classmethod
    def find(
        cls, split: str, motion_folders: list[Path], panorama_folders: list[Path], light_split: str = ""
    ) -> Sources:
        """The split's share of what the folders hold, and of Blender's studio panoramas where they are installed."""
        clips = [p for folder in motion_folders for p in sorted(Path(folder).rglob("*.bvh"))]
        folders = [environments.studio_panoramas(), *(environments.find_panoramas(f) for f in panorama_folders)]
        unseen = (light_split or split) == "test"
        mine = [[p for p in folder if is_test_light(p) == unseen] for folder in folders]
        motions = [p for p in clips if is_test(p.stem) == (split == "test")]
        return cls(split, motions, [f for f in mine if f], light_split)

    @property
    def unseen_lights(self) -> bool:
        """Whether the lights are those of the test split."""
        return (self.light_split or self.split) == "test"

    def only(self, motions: Collection[str], panoramas: Collection[str]) -> Sources:
        """Those whose files have the given names."""
        folders = [[p for p in folder if p.name in panoramas] for folder in self.panoramas]
        kept = [p for p in self.motions if p.name in motions]
        return Sources(self.split, kept, [f for f in folders if f], self.light_split)


def moments(
    sources: Sources, seed: int, shard: int, count: int, lights: int, sequence: bool = False
) -> Iterator[Moment]:
    """`count` moments of one shard; the same seed and shard give the same moments, whatever was made before.

    sequence: they are consecutive frames of one motion, through one camera, under the same lights.
    """
    random = np.random.default_rng([seed, zlib.crc32(sources.split.encode()), shard])
    stream = light_stream(sources, random, TURNS if sources.split == "train" else 1)
    if sequence:
        constant = itertools.cycle(list(itertools.islice(stream, lights)))
        yield from _window(sources, random, count, lights, constant, 1, [VIEWS // 2])
        return
    for start in range(0, count, WINDOW):
        yield from _window(sources, random, min(WINDOW, count - start), lights, stream, STRIDE, range(VIEWS))


def _window(
    sources: Sources,
    random: np.random.Generator,
    count: int,
    lights: int,
    stream: Iterator[Environment],
    stride: int,
    views: Iterable[int],
) -> Iterator[Moment]:
    """`count` moments of one person in one motion, `stride` of its frames apart, seen by some of three cameras."""
    person = _person(int(random.choice(SPLITS[sources.split])))
    clip = _clip(sources, person.joints, random, count * stride)
    poses = [posed_skins(person, clip.pose[f], clip.trans[f]) for f in range(0, count * stride, stride)]
    level = min(float(skin.mesh.vertices[:, 2].min()) for skins in poses for skin in skins)
    rig = _Rig.draw(clip, person.joints, random)
    first = int(clip.name.rpartition("@")[2])
    for step, skins in enumerate(poses):
        shots = [rig.shot(view, step * stride, skins) for view in views]
        yield Moment(
            person.identity,
            clip.name.rpartition("@")[0],
            first + step * stride,
            skins,
            level,
            shots,
            list(itertools.islice(stream, lights)),
            [part.weights.argmax(1) for part in person.parts],
            person.betas,
            clip.pose[step * stride],
            clip.trans[step * stride],
        )


def _clip(sources: Sources, joints: np.ndarray, random: np.random.Generator, length: int) -> Motion:
    """`length` frames of a motion; "@" and the first one's number are added to its name."""
    if sources.motions and random.random() < 0.7:
        path = sources.motions[random.integers(len(sources.motions))]
        whole = resample(retarget(_bvh(path), joints, path.stem))
    else:
        habit = int(random.integers(40)) + (1000 if sources.split == "test" else 0)
        whole = builtin(str(random.choice(BUILTIN)), habit, rest_joints=joints)
    if random.random() < 0.5:
        whole = mirror(whole)
    start = int(random.integers(max(1, len(whole) - length)))
    frames = np.minimum(np.arange(start, start + length), len(whole) - 1)
    return Motion(f"{whole.name}@{start}", whole.pose[frames], whole.trans[frames], whole.fps)


@functools.lru_cache(maxsize=64)
def _bvh(path: Path) -> Bvh:
    return load_bvh(path)


@functools.lru_cache(maxsize=32)
def _person(seed: int) -> Person:
    return make_person(seed)


def posed_skins(person: Person, pose: np.ndarray, trans: np.ndarray) -> list[Skin]:
    """The person's parts in a pose, in world space."""
    skins = []
    for posed in pose_person(person, pose, trans):
        part = posed.part
        mesh = Mesh(
            part.name,
            CHARACTER,
            (posed.vertices @ Z_UP.T).astype(np.float32),
            posed.faces.astype(np.int32),
            (posed.corner_normals @ Z_UP.T).astype(np.float32),
        )
        rough = 0.2 if part.name == "skin" else 0.5  # cloth scatters back more than skin
        skins.append(Skin(mesh, part.uv, part.texture.astype(np.float32), part.roughness, part.specular, rough))
    return skins


@dataclass(frozen=True)
class _Rig:
    """Three cameras: the path they track (F, 3), their azimuths, elevations, distances, and their common lens."""

    track: np.ndarray
    azimuths: np.ndarray
    elevations: np.ndarray
    distances: np.ndarray
    aspect: float
    fov: float
    aims: np.ndarray

    @classmethod
    def draw(cls, clip: Motion, rest_joints: np.ndarray, random: np.random.Generator) -> _Rig:
        joints = forward_kinematics(clip.pose, clip.trans, rest_joints)
        chest = gaussian_filter1d(joints[:, INDEX["spine3"]] @ Z_UP.T, 8, axis=0, mode="nearest")
        hips = (joints[:, INDEX["left_hip"]] - joints[:, INDEX["right_hip"]]).mean(0) @ Z_UP.T
        front = np.arctan2(-hips[0], hips[1])  # a quarter turn clockwise from the left hip's side
        spread = np.radians(random.uniform(35, 75))
        azimuths = front + np.radians(random.normal(0, 20)) + spread * np.array([-1, 0, 1])
        fov = np.radians(random.uniform(20, 75))
        aspect = float(random.choice(ASPECTS))
        vertical = 2 * np.arctan(np.tan(fov / 2) / max(aspect, 1))
        share = np.exp(random.uniform(np.log(0.28), np.log(1.05)))  # a standing person's height in the frame's
        distance = np.maximum(1.75 / (2 * np.tan(vertical / 2) * share), 1.0) * random.uniform(0.92, 1.08, VIEWS)
        room = max(0.0, 0.35 * (1 - share)) * 2 * np.tan(fov / 2) * min(aspect, 1)
        aims = random.uniform(-1, 1, (VIEWS, 2)) * [room, room / 2]
        elevations = np.radians(np.clip(random.normal(4, 9) + random.normal(0, 3, VIEWS), -8, 40))
        return cls(chest, azimuths, elevations, distance, aspect, fov, aims)

    def shot(self, view: int, frame: int, skins: list[Skin]) -> Shot:
        azimuth, elevation = self.azimuths[view], self.elevations[view]
        outward = pointing(azimuth, elevation)
        distance = self.distances[view]
        right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
        target = self.track[frame] + [0, 0, -0.25]
        eye = target + outward * distance
        eye[2] = max(eye[2], 0.15)
        target = target + distance * (right * self.aims[view, 0] + np.array([0, 0, self.aims[view, 1]]))
        width, height = (_LONG_SIDE, round(_LONG_SIDE / self.aspect)) if self.aspect >= 1 else (
            round(_LONG_SIDE * self.aspect), _LONG_SIDE)  # fmt: skip
        camera = perspective(width, height, self.fov, world_from_camera=look_at(eye, target))
        box = box_around(camera, skins)
        return Shot(camera, crop_camera(camera, box, (CROP, CROP)), box)


def box_around(camera: Camera, skins: list[Skin]) -> Box:
    """The crop rule's square, for the coverage that the person's outermost vertices span."""
    pose = camera.world_from_camera
    points = np.concatenate([skin.mesh.vertices for skin in skins])
    pixels, depths = project(camera, (points - pose[:3, 3]) @ pose[:3, :3])
    pixels = np.clip(pixels[depths > 0], 0, [camera.width, camera.height])
    (left, top), (right, bottom) = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int)
    coverage = np.zeros((camera.height, camera.width), np.float32)
    coverage[top : max(bottom, top + 1), left : max(right, left + 1)] = 1
    box = crop_box(coverage)
    if box is None:
        raise ValueError("the person is outside the frame")
    return box


def light_stream(
    sources: Sources, random: np.random.Generator, turns: int = 1, daylit: bool = False
) -> Iterator[Environment]:
    """Lights without end: of built-in places, some after each other, panoramas, skies; or of daylit places alone.

    Each is turned at random, and perhaps mirrored, `turns` times.
    """
    first = (DAYLIT if daylit else 0) + (_TEST_PLACES if sources.unseen_lights else 0)
    while True:
        if daylit or random.random() < BUILT:
            place = Place(first + int(random.integers(_TEST_PLACES)))
            lights = (place.lit(int(seed)) for seed in random.integers(1 << 30, size=PLACE_LIGHTS))
        else:
            lights = (_found(sources, random) for _ in range(PLACE_LIGHTS))
        for light in (light for light in lights for _ in range(turns)):
            turned = light.rotated(random.random())
            yield turned.mirrored() if random.random() < 0.5 else turned


def _found(sources: Sources, random: np.random.Generator) -> Environment:
    """A panorama or a sky."""
    choice = int(random.integers(len(sources.panoramas) + 1))
    if choice < len(sources.panoramas):
        folder = sources.panoramas[choice]
        return _panorama(folder[random.integers(len(folder))])
    return _sky(int(random.integers(300)) + (10_000 if sources.unseen_lights else 0))


@functools.lru_cache(maxsize=48)
def _panorama(path: Path) -> Environment:
    return environments.load(path)


@functools.lru_cache(maxsize=48)
def _sky(seed: int) -> Environment:
    return environments.sky(seed)
