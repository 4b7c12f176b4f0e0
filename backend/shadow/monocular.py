# SPDX-License-Identifier: GPL-3.0-or-later
"""Point maps from monocular networks that the user has: MoGe-2, and the depth models of `transformers`.

None is bundled. A model is a local folder, or the name of a repository on the Hugging Face hub, which is downloaded
once. MoGe-2's holds ``model.pt`` (read with weights alone), one of `transformers` the usual ``config.json`` and
``model.safetensors``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..protocol import Camera, PenumbraError
from ..rays.camera import pixel_centres, primary_rays
from .pointmap import FARTHEST, PointMap
from .viewpoint import EYE, pinhole

Estimator = Callable[[np.ndarray, Camera], PointMap]
"""Of a photograph (H, W, 3), display-encoded in [0, 1], and the camera that is believed in otherwise."""

CONFIDENCE = 0.7
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ("model.pt", "config.json", "preprocessor_config.json", "model.safetensors")
_FROM_OPENCV = np.array([1, -1, -1], np.float32)  # x right, y down, z forward


def load(name: str | Path, device: str | torch.device = "cpu") -> Estimator:
    """The monocular network in a folder, or of a repository on the hub, as in "Ruicheng/moge-2-vitl-normal".

    Raises PenumbraError where it or its package is missing, or cannot be downloaded.
    """
    folder = Path(name)
    if not folder.is_dir() and _REPOSITORY.fullmatch(str(name)):
        folder = _downloaded(str(name))
    if not folder.is_dir():
        raise PenumbraError(
            f"There is no depth model at {folder}.",
            "Name a folder that holds MoGe-2 or a transformers depth model, or a repository of the Hugging Face hub.",
        )
    if (folder / "model.pt").is_file():
        return _moge(folder / "model.pt", device)
    if (folder / "config.json").is_file():
        return _transformers(folder, device)
    raise PenumbraError(
        f"{folder} holds no depth model.", "It should hold model.pt (MoGe-2), or config.json and model.safetensors."
    )


def _downloaded(repository: str) -> Path:
    """The folder of a repository's snapshot; taken from the hub's cache where it is there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(_FILES)))
    except (OSError, ValueError) as problem:
        raise PenumbraError(
            f"The depth model {repository} is no local folder and could not be downloaded: {problem}",
            "Check the name and the connection, or download it elsewhere and name its folder.",
        ) from problem


def from_opencv(points: np.ndarray, valid: np.ndarray, intrinsics: np.ndarray, believed: Camera) -> PointMap:
    """A point map given in OpenCV's axes (H, W, 3), metres, with intrinsics (3, 3) normalised by the frame's size.

    The ground is the plane that most points below the camera lie on; `believed` says which way is up until then.
    """
    height, width = valid.shape
    points = np.where(valid[..., None], np.nan_to_num(points), 0).astype(np.float32) * _FROM_OPENCV
    valid = valid & (-points[..., 2] > 0) & (np.abs(points).max(-1) < FARTHEST)
    up, eye = find_ground(points[valid], believed.world_from_camera[2, :3])
    centre = (float(intrinsics[0, 2] * width), float(intrinsics[1, 2] * height))
    camera = pinhole(width, height, float(intrinsics[0, 0] * width), up, eye, centre)
    return PointMap(points * valid[..., None], valid, camera, CONFIDENCE)


def from_depth(depth: np.ndarray, believed: Camera) -> PointMap:
    """A point map of metric depths (H, W) along −z, through the believed camera's pixels."""
    _, directions = primary_rays(believed, pixel_centres(believed))
    valid = np.isfinite(depth) & (depth > 0) & (depth < FARTHEST)
    points = directions / -directions[..., 2:] * np.where(valid, depth, 0)[..., None]
    up, eye = find_ground(points[valid].astype(np.float32), believed.world_from_camera[2, :3])
    focal = believed.projection[0, 0] * believed.width / 2
    camera = pinhole(believed.width, believed.height, focal, up, eye)
    return PointMap(points.astype(np.float32), valid, camera, CONFIDENCE)


def from_disparity(disparity: np.ndarray, believed: Camera) -> PointMap:
    """A point map of inverse depths known up to scale and shift, as relative depth models give them.

    Of a plane, disparity is a plane over the pixels. The ground's, by the believed camera, is known; the scale and the
    shift that bring the lower part of the picture nearest to it are taken.
    """
    _, directions = primary_rays(believed, pixel_centres(believed))
    pose = np.asarray(believed.world_from_camera, np.float64)
    ground = (
        np.maximum(-(directions @ pose[2, :3]) / -directions[..., 2], 0) / pose[2, 3]
    )  # 1 / depth of the plane z = 0
    lower = ground > 0.25 * ground.max()
    x, y = disparity[lower].astype(np.float64), ground[lower]
    keep = np.ones(len(x), bool)
    scale, shift = 0.0, 0.0
    for _ in range(5):  # what stands on the ground is nearer than it: drop it
        scale, shift = np.polyfit(x[keep], y[keep], 1)
        off = scale * x + shift - y
        keep = np.abs(off) <= max(np.quantile(np.abs(off), 0.6), 1e-9)
    if not scale > 0:
        raise PenumbraError(
            "The depth model's picture does not go with a level ground.",
            "Give the horizon, or use a metric depth model.",
        )
    inverse = scale * disparity + shift
    return from_depth(np.where(inverse > 1 / FARTHEST, 1 / np.maximum(inverse, 1 / FARTHEST), np.inf), believed)


def find_ground(points: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, float]:
    """The ground's normal (3,) and the camera's height over it in metres: RANSAC, then PCA of what agrees.

    points: (N, 3) camera space. up: within 35° of which the normal is looked for; given back where nothing is found.
    """
    up = np.asarray(up, np.float64)
    below = points[points @ up < 0].astype(np.float64)
    if len(below) < 100:
        return up, EYE
    random = np.random.default_rng(0)
    below = below[random.choice(len(below), min(len(below), 4000), replace=False)]
    a, b, c = below[random.integers(len(below), size=(3, 300))]
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(lengths, 1e-12)[:, None] * np.sign(normals @ up)[:, None]
    heights = -(normals * a).sum(1)
    allowed = (normals @ up > np.cos(np.radians(35))) & (lengths > 1e-9) & (heights > 0.05)
    if not allowed.any():
        return up, EYE
    normals, heights = normals[allowed], heights[allowed]
    off = np.abs(below @ normals.T + heights)
    near = off < 0.02 * np.linalg.norm(below, axis=1)[:, None]
    # Of planes with as many points the lowest: tables and steps lie above the ground.
    best = int(np.argmax(near.mean(0) + 0.02 * heights / heights.max()))
    if near[:, best].mean() < 0.1:
        return up, EYE
    inliers = below[near[:, best]]
    centre = inliers.mean(0)
    normal = np.linalg.eigh(np.cov((inliers - centre).T))[1][:, 0]
    normal *= np.sign(normal @ up)
    return normal, float(max(-(normal @ centre), 0.05))


def _moge(file: Path, device: str | torch.device) -> Estimator:
    if importlib.util.find_spec("moge") is None:
        raise PenumbraError(
            "MoGe-2 needs the package moge, which is not installed.",
            "Install it from github.com/microsoft/MoGe into the backend's environment.",
        )
    model = importlib.import_module("moge.model.v2").MoGeModel.from_pretrained(str(file)).to(device).eval()

    @torch.inference_mode()
    def estimate(photograph: np.ndarray, believed: Camera) -> PointMap:
        image = torch.tensor(np.ascontiguousarray(photograph.transpose(2, 0, 1)), dtype=torch.float32, device=device)
        out = model.infer(image)
        points, valid, intrinsics = (out[name].float().cpu().numpy() for name in ("points", "mask", "intrinsics"))
        return from_opencv(points, valid > 0.5, intrinsics, believed)

    return estimate


def _transformers(folder: Path, device: str | torch.device) -> Estimator:
    if importlib.util.find_spec("transformers") is None:
        raise PenumbraError(
            "This depth model needs the package transformers, which is not installed.",
            "Install it into the backend's environment: python -m pip install transformers.",
        )
    config = json.loads((folder / "config.json").read_text("utf-8"))
    from transformers import AutoModelForDepthEstimation

    try:
        model = AutoModelForDepthEstimation.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError) as problem:
        raise PenumbraError(
            f"The depth model in {folder} cannot be read: {problem}", "It needs config.json and model.safetensors."
        ) from problem
    model = model.to(device).eval()
    metric = config.get("depth_estimation_type") == "metric" or config.get("model_type") in ("zoedepth", "depth_pro")
    mean, deviation = (torch.tensor(v, device=device)[None, :, None, None] for v in _normalisation(folder))
    step, side = _patch(config), 518 if config.get("model_type") == "depth_anything" else 384

    @torch.inference_mode()
    def estimate(photograph: np.ndarray, believed: Camera) -> PointMap:
        height, width = photograph.shape[:2]
        scale = side / min(height, width)
        size = tuple(max(step, round(n * scale / step) * step) for n in (height, width))
        image = torch.tensor(
            np.ascontiguousarray(photograph.transpose(2, 0, 1)[None]), dtype=torch.float32, device=device
        )
        image = torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False)
        out = model((image.clamp(0, 1) - mean) / deviation).predicted_depth[:, None]
        out = torch.nn.functional.interpolate(out, (height, width), mode="bilinear", align_corners=False)
        values = out[0, 0].float().cpu().numpy()
        return from_depth(values, believed) if metric else from_disparity(values, believed)

    return estimate


def _normalisation(folder: Path) -> tuple[list[float], list[float]]:
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return settings.get("image_mean", [0.485, 0.456, 0.406]), settings.get("image_std", [0.229, 0.224, 0.225])


def _patch(config: dict) -> int:
    """Pixels of which a side must be a multiple."""
    return int(config.get("patch_size") or config.get("backbone_config", {}).get("patch_size") or 14)
