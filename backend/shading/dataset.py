# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the shards that ``scripts/make_dataset.py shading`` writes, and makes training batches of them.

A shard is a compressed ``.npz`` of N frames under L lights each; frames 3k, 3k+1, 3k+2 are three simultaneous views.
`box` (N, 4) is the crop in fractions of the plate. In memory a frame keeps its foreground pixels only, about 25 kB a
light and 100 kB a frame beside 48 kB a plate, so 30,000 lit frames take some 3 GB.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..images import srgb_decode, srgb_encode
from ..protocol import PenumbraError
from ..splits import of_test_places
from ..training import Run
from .crop import CROP
from .light_code import MIRRORED, facing_shading
from .losses import edge_importance

VIEWS = 3
CLIPPED = 250  # display code from which a plate's true brightness is unknown
_PIXELS = CROP * CROP


@dataclass(frozen=True)
class Frame:
    """One frame under L lights. Per-pixel arrays list the P foreground pixels (`pixels`: flat indices, row-major).

    albedo, normal (P, 3) and shading (L, P, 3) float16; alpha (P,) uint8; bits (P,) uint64; plates (L, 128, 128, 3)
    uint8 display-encoded; box (4,) fractions of the plate; radiance (L, 62, 3); suns (L, 2, 7) direction, irradiance,
    half-angle; projection (4, 4) of the crop; world_from_camera (4, 4). film: what consecutive frames have in common:
    person, motion and camera; number: of the motion's frame; lights: their L names.
    """

    pixels: np.ndarray
    albedo: np.ndarray
    normal: np.ndarray
    alpha: np.ndarray
    bits: np.ndarray
    shading: np.ndarray
    plates: np.ndarray
    box: np.ndarray
    radiance: np.ndarray
    suns: np.ndarray
    projection: np.ndarray
    world_from_camera: np.ndarray
    identity: str
    film: str
    number: int
    lights: tuple[str, ...]

    def follows(self, other: Frame) -> bool:
        """Whether this is the next frame of the same film under the same lights."""
        return (self.film, self.number, self.lights) == (other.film, other.number + 1, other.lights)

    def image(self, values: np.ndarray) -> np.ndarray:
        """(P, …) values of the foreground as (128, 128, …), 0 elsewhere."""
        full = np.zeros((_PIXELS, *values.shape[1:]), values.dtype)
        full[self.pixels] = values
        return full.reshape(CROP, CROP, *values.shape[1:])


class Batch(NamedTuple):
    """Tensors of B images, three views after each other; shapes as the networks take them."""

    plate: Tensor  # (B, 3, 128, 128) display-encoded in [0, 1]
    normal: Tensor
    albedo: Tensor
    bits: Tensor  # (B, 128, 128) int64
    alpha: Tensor  # (B, 1, 128, 128)
    box: Tensor  # (B, 4)
    shading: Tensor  # (B, 3, 128, 128) linear
    importance: Tensor  # (B, 3, 128, 128) x_w of equation 1
    facing: Tensor  # (B, 6, 3) what `light_code` encodes: shading of white surfaces that face six ways

    def to(self, device: torch.device) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in self))

    def halved(self) -> Batch:
        """Every other pixel each way of what G sees and makes; f's plates stay whole."""
        kept = ("plate", "box", "facing")
        return Batch(*(t if n in kept else t[..., ::2, ::2] for n, t in zip(self._fields, self, strict=True)))


def read_shard(path: Path, train: bool = False) -> list[Frame]:
    """The frames of one shard. Raises PenumbraError where the file is none.

    train: without the lights of test places (`splits.TEST_PLACES`), and without frames that have no others.
    """
    arrays = read_arrays(path)
    with reading(path):
        kept = [
            [k for k, light in enumerate(lights) if not (train and of_test_places(str(light)))]
            for lights in arrays["light"]
        ]
        return [_compact(arrays, i, lights) for i, lights in enumerate(kept) if lights]


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a damaged shard raises into a PenumbraError."""
    try:
        yield
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as problem:
        raise PenumbraError(
            f"The data set's file {path} cannot be read: {problem}.", "Delete it and make it again."
        ) from problem


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What one shard holds. Raises PenumbraError where the file is none."""
    with reading(path), np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def shards(folders: list[Path]) -> list[Path]:
    """Raises PenumbraError where there is none."""
    paths = [path for folder in folders for path in sorted(Path(folder).glob("shard_*.npz"))]
    if not paths:
        raise PenumbraError(
            f"There is no shard in {', '.join(map(str, folders))}.", "Make one: scripts/make_dataset.py shading."
        )
    return paths


def _compact(a: dict[str, np.ndarray], i: int, lights: list[int]) -> Frame:
    # A pixel without a normal has coverage but no surface: nothing was shaded there.
    covered = (a["alpha"][i] > 0) & (np.abs(a["normal"][i]).sum(-1) > 0)
    return Frame(
        np.flatnonzero(covered).astype(np.uint16),
        a["albedo"][i][covered],
        a["normal"][i][covered],
        a["alpha"][i][covered],
        a["rics"][i][covered],
        a["shading"][i][lights][:, covered],
        a["plate"][i][lights],
        a["box"][i].astype(np.float32),
        a["radiance"][i][lights],
        a["suns"][i][lights],
        a["projection"][i].copy(),
        a["world_from_camera"][i].copy(),
        str(a["identity"][i]),
        f"{a['identity'][i]} {a['clip'][i]} {a['view'][i]}",
        int(a["frame"][i]),
        tuple(str(a["light"][i][k]) for k in lights),
    )


class ShadingData:
    """The frames of several data-set folders of one kind, kept compactly in memory."""

    def __init__(self, folders: list[Path], memory: float = 6e9, workers: int = 2, train: bool = False) -> None:
        """memory: bytes after which further shards, in a shuffled order, are left out; `left_out` counts them.

        train: see `read_shard`. Raises PenumbraError where there is no shard.
        """
        paths = shards(folders)
        np.random.default_rng(0).shuffle(paths)  # type: ignore[arg-type]
        read = functools.partial(read_shard, train=train)
        self.frames: list[Frame] = []
        self.bytes, self.left_out = 0, 0
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(paths), workers):
                if self.bytes > memory:
                    self.left_out = len(paths) - start
                    break
                for frames in pool.map(read, paths[start : start + workers]):
                    self.frames += frames
                    self.bytes += sum(v.nbytes for f in frames for v in vars(f).values() if isinstance(v, np.ndarray))

    @property
    def moments(self) -> int:
        return len(self.frames) // VIEWS

    @property
    def images(self) -> int:
        """Frames times lights."""
        return sum(len(frame.plates) for frame in self.frames)

    def draw(self, random: np.random.Generator) -> list[dict[str, np.ndarray]]:
        """The three views of a random moment under one of its lights, augmented alike."""
        first = VIEWS * int(random.integers(self.moments))
        light = int(random.integers(len(self.frames[first].plates)))
        gain, mirrored = another_gain(random), random.random() < 0.5
        views = [exposed(view(frame, light), gain) for frame in self.frames[first : first + VIEWS]]
        return [mirror(v) for v in views] if mirrored else views


def view(frame: Frame, light: int) -> dict[str, np.ndarray]:
    """One frame under one light as images, channels last: what `Batch` holds, float32 but for bits (uint64)."""
    shading = frame.image(frame.shading[light].astype(np.float32))
    alpha = frame.image(frame.alpha.astype(np.float32) / 255)
    return {
        "plate": frame.plates[light].astype(np.float32) / 255,
        "normal": frame.image(frame.normal.astype(np.float32)),
        "albedo": frame.image(frame.albedo.astype(np.float32)),
        "bits": frame.image(frame.bits),
        "alpha": alpha[..., None],
        "box": frame.box,
        "shading": shading,
        "importance": edge_importance(shading, alpha > 0),
        "facing": facing_shading(frame.radiance[light], frame.suns[light]).astype(np.float32),
    }


def another_gain(random: np.random.Generator) -> np.ndarray:
    """(3,) another exposure and white balance."""
    return np.exp(random.uniform(-0.35, 0.35) + random.normal(0, 0.06, 3)).astype(np.float32)


def exposed(images: dict[str, np.ndarray], gain: np.ndarray) -> dict[str, np.ndarray]:
    """The same photograph at another exposure and white balance: plate and shading times gain (3,), linear.

    What the plate has clipped stays clipped: how bright it was, the photograph does not tell.
    """
    lit = {name: images[name] * gain for name in ("shading", "facing")}
    return {**images, "plate": exposed_plate(images["plate"], gain), **lit}


def exposed_plate(plate: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """A display-encoded plate (…, 3) at another exposure; see `exposed`."""
    display = srgb_encode(srgb_decode(plate) * gain)
    display = np.where(plate >= CLIPPED / 255, np.maximum(plate, display), display)
    return np.minimum(display, 1).astype(np.float32)


def mirror(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scene in a mirror whose plane holds the camera's y and z: x changes its sign everywhere."""
    flipped = {name: value[:, ::-1] for name, value in images.items() if name not in ("box", "facing")}
    left, top, right, bottom = images["box"]
    flipped["box"] = np.array([1 - right, top, 1 - left, bottom], np.float32)
    flipped["normal"] = flipped["normal"] * np.array([-1, 1, 1], np.float32)
    flipped["bits"] = mirror_bits(flipped["bits"])
    flipped["facing"] = images["facing"][list(MIRRORED)]
    return flipped


def mirror_bits(bits: np.ndarray) -> np.ndarray:
    """RiCS of a scene with x negated: direction 12·i + j becomes 12·i + (12 − j) mod 12; the poles stay."""
    mirrored = np.zeros_like(bits)
    for j in range(12):
        ring = sum(1 << (12 * i + j) for i in range(5)) | (3 << 60 if j == 0 else 0)
        chosen, shift = bits & np.uint64(ring), (12 - j) % 12 - j
        mirrored |= chosen << np.uint64(shift) if shift >= 0 else chosen >> np.uint64(-shift)
    return mirrored


def collate(views: list[dict[str, np.ndarray]]) -> Batch:
    """Images as `view` gives them to one batch; channels-last memory."""

    def stack(name: str) -> Tensor:
        stacked = torch.from_numpy(np.stack([v[name] for v in views]))
        return stacked.permute(0, 3, 1, 2) if stacked.ndim == 4 else stacked

    return Batch(
        *(
            torch.from_numpy(np.stack([v["bits"] for v in views]).view(np.int64)) if name == "bits" else stack(name)
            for name in Batch._fields
        )
    )


def batches(
    sources: list[ShadingData], shares: list[float], moments: int, seed: int, workers: int = 1
) -> Iterator[Batch]:
    """Random batches of `moments` × 3 views without end, prepared by threads.

    shares: of the moments that each source gives; may be changed meanwhile. Closing the iterator ends the threads.
    """
    ready: queue.Queue[Any] = queue.Queue(2 * workers)
    stop = threading.Event()

    def prepare(worker: int) -> None:
        random = np.random.default_rng([seed, worker])
        try:
            while not stop.is_set():
                chosen = random.choice(len(sources), moments, p=np.array(shares) / np.sum(shares))
                _put(ready, collate([v for c in chosen for v in sources[c].draw(random)]), stop)
        except Exception as problem:
            _put(ready, problem, stop)

    threads = [threading.Thread(target=prepare, args=(w,), daemon=True) for w in range(workers)]
    for thread in threads:
        thread.start()
    try:
        while True:
            batch = ready.get()
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def mixed(
    sources: list[ShadingData], share: tuple[float, float], moments: int, run: Run, workers: int = 1
) -> Iterator[Callable[[], Batch]]:
    """A function that draws a run's next batch; share: of the second source, at the run's begin and end."""
    shares = [1.0] * len(sources)
    # A resumed run draws other batches than those it has seen.
    stream = batches(sources, shares, moments, run.plan.seed + run.step, workers)

    def draw() -> Batch:
        if len(sources) == 2:
            shares[1] = share[0] + (share[1] - share[0]) * run.done
            shares[0] = 1 - shares[1]
        return next(stream)

    with contextlib.closing(stream):
        yield draw


def _put(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=0.2)
            break
