# SPDX-License-Identifier: GPL-3.0-or-later
"""An object of a photograph as a mesh with parts, albedo, light and camera.

Blender's job, and `python -m backend object IMAGE`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import trimesh
from trimesh.exchange.obj import export_obj
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from .. import device as devices
from ..images import srgb_decode, write_png
from ..import_jobs import ObjectJob, ObjectResult
from ..photograph import Photograph, read_photograph, upright_copy
from ..protocol import PROP, Mesh, PenumbraError, replacing, write_json
from ..rays.scene import RayScene
from ..weights import load_model
from .dataset import encoder_input
from .encoder import Fit
from .harmonics import ambient
from .meshing import ObjectMesh, extract, write_mesh
from .pictures import PARTS, standard_camera, studio_light
from .projection import cropped
from .public import cut_out
from .reconstructor import Reconstructor
from .refine import refined
from .rendering import valid_camera
from .silhouette import Box, is_cut, silhouette
from .views import between, look, shade

SIDE = 128  # of the grid that the mesh is made on
UNSURE = 0.6  # probability of a category below which it counts as unknown
SHOWN = 128  # pixels of a picture of the sheet

BACKGROUND = 0.6  # linear, of the sheet

Progress = Callable[[str, float], None]
Colour = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Found:
    """An object of a photograph.

    matrix: (3, 4) JOF's projection (see `projection`) of the whole photograph, with u and v from -1 to 1 over the
    longer side and 0 in its middle. fit: of the crop. crop: (128, 128, 3) and (128, 128) uint8, what the encoder saw.
    category, probability: the known category that it is nearest to.
    """

    mesh: ObjectMesh
    fit: Fit
    matrix: np.ndarray
    crop: tuple[np.ndarray, np.ndarray]
    category: str
    probability: float
    notices: tuple[str, ...]

    @property
    def light(self) -> np.ndarray:
        """(9, 3) harmonics of the shading, object space."""
        return self.fit.light[0].cpu().numpy()


def find_object(
    photograph: Photograph,
    mask: np.ndarray,
    network: Reconstructor,
    refine: bool = False,
    side: int = SIDE,
    progress: Progress = lambda *_: None,
) -> Found:
    """The object that covers mask (H, W) uint8. Raises PenumbraError where the network finds no shape in it."""
    rgb, coverage, middle, half = cut_out(photograph.encoded, mask)
    device = network.encoder.camera_mean.device
    with torch.no_grad():
        fit = network(torch.from_numpy(encoder_input(rgb, coverage, network.config.sees_mask))[None].to(device))
    if refine:
        progress("Refining", 0.2)
        linear, alpha = (torch.from_numpy(x).float()[None].to(device) for x in (srgb_decode(rgb / 255), coverage / 255))
        fit = refined(network, fit, linear, alpha)
    progress("Making the mesh", 0.6)
    camera = valid_camera(fit.matrix)[0].double().cpu().numpy()
    mesh = extract(network.field, fit.codes, side, (camera, coverage / 255))
    if not len(mesh.faces):
        raise PenumbraError("No shape could be made of the object.", "Choose another picture of it.")
    likely = network.field.classified(fit.codes).detach().softmax(-1)[0]
    category, probability = network.config.categories[int(likely.argmax())], float(likely.max())
    matrix = _uncropped(camera, photograph, middle, half)
    notices = tuple(_notices(mask, category, probability))
    return Found(mesh, fit, matrix, (rgb, coverage), category, probability, notices)


def _notices(mask: np.ndarray, category: str, probability: float) -> Iterator[str]:
    if probability < UNSURE:
        yield f"It is none of the kinds of objects that are known; the nearest is a {category} ({probability:.0%})."
    if is_cut(mask):
        yield "The picture's edge cuts the object: what lies beyond it is guessed."


def _uncropped(matrix: np.ndarray, photograph: Photograph, middle: np.ndarray, half: float) -> np.ndarray:
    """A crop's projection, as one of the whole photograph: the crop is undone, which is a crop by the inverse."""
    width, height = photograph.size
    longer = max(width, height) / 2
    centre = (middle - (width / 2, height / 2)) / longer
    scale = half / longer
    return cropped(matrix, -centre / scale, 1 / scale)


def pose(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, tuple[float, float]]:
    """Axes, place, focal length and shift of a pinhole camera's projection, as `import_jobs.ObjectResult` has them."""
    forward = matrix[2, :3]
    centre = matrix[:2, :3] @ forward  # of projection, in the picture
    across = matrix[:2, :3] - centre[:, None] * forward
    lengths = np.linalg.norm(across, axis=1)
    right, down = across / lengths[:, None]
    place = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    # u and v run over two units; Blender's lens has one length for both, and the picture's middle is at 0.
    return np.stack([right, -down, -forward]), place, float(lengths.mean()) / 2, (-centre[0] / 2, centre[1] / 2)


def import_object(folder: Path, progress: Progress) -> ObjectResult:
    """Do the `ObjectJob` in `folder`; writes ``result.json`` and its files there. Raises PenumbraError."""
    job, started = ObjectJob.load(folder), time.perf_counter()
    progress("Reading the photograph", 0.0)
    photograph = read_photograph(Path(job.image))
    mask = silhouette(photograph, Path(job.image), Path(job.mask) if job.mask else None, job.box)
    progress("Loading the joint field", 0.1)
    device = devices.pick(job.device)
    network = cast(Reconstructor, load_model("reconstructor")[0]).to(device)
    found = find_object(photograph, mask, network, job.refine, job.side, progress)
    write_mesh(folder / "mesh.npz", found.mesh)
    write_codes(folder / "codes.npz", found)
    axes, place, focal, shift = pose(found.matrix)
    result = ObjectResult(
        "mesh.npz",
        "codes.npz",
        photograph.size,
        axes.tolist(),
        place.tolist(),
        focal,
        shift,
        found.light.tolist(),
        found.category,
        found.probability,
        network.config.categories,
        upright_copy(photograph, Path(job.image), folder),
        {"Import": time.perf_counter() - started},
        device.type,
        devices.versions(),
        found.notices,
    )
    result.save(folder)
    return result


def write_codes(path: Path, found: Found) -> None:
    """As `import_jobs.EditedObject` has them."""
    codes = {name: code[0].cpu().numpy() for name, code in found.fit.codes._asdict().items()}
    if found.mesh.outline:
        codes |= {"camera": found.mesh.outline.matrix, "levels": found.mesh.outline.levels}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **codes)


def write(folder: Path, found: Found) -> None:
    """``object.glb``, ``object.obj``, ``codes.npz``, ``light.json``, ``camera.json`` and ``sheet.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = trimesh.Scene(parted(found.mesh))
    with replacing(folder / "object.glb") as temporary:
        temporary.write_bytes(cast(bytes, scene.export(file_type="glb")))
    whole = trimesh.Trimesh(found.mesh.vertices, found.mesh.faces, process=False, vertex_normals=found.mesh.normals)
    with replacing(folder / "object.obj") as temporary:
        temporary.write_text(export_obj(whole, include_normals=True), "utf-8")
    write_codes(folder / "codes.npz", found)
    write_json(folder / "light.json", {"shading_harmonics": found.light.tolist(), "space": "object"})
    write_json(
        folder / "camera.json",
        {"matrix": found.matrix.tolist(), "category": found.category, "probability": found.probability},
    )
    write_png(folder / "sheet.png", sheet(*found.crop, found.mesh, found.fit))


def parted(mesh: ObjectMesh) -> dict[str, trimesh.Trimesh]:
    """A mesh of each part, coloured by its albedo."""
    parts = {}
    for number, albedo in mesh.part_albedo().items():
        used, faces = np.unique(mesh.faces[mesh.part == number], return_inverse=True)
        piece = trimesh.Trimesh(
            mesh.vertices[used], faces.reshape(-1, 3), process=False, vertex_normals=mesh.normals[used]
        )
        colour = [*np.clip(albedo, 0, 1).tolist(), 1.0]
        piece.visual = TextureVisuals(
            material=PBRMaterial(name=f"part {number}", baseColorFactor=colour, metallicFactor=0.0, roughnessFactor=0.7)
        )
        parts[f"part {number}"] = piece
    return parts


def sheet(rgb: np.ndarray, coverage: np.ndarray, mesh: ObjectMesh, fit: Fit) -> np.ndarray:
    """(H, W, 3) linear: the crop that was seen, its mesh in its light, its parts, its albedo, and three turned views.

    rgb: (128, 128, 3) and coverage (128, 128) uint8.
    """
    linear = srgb_decode(rgb / 255.0)
    linear = np.where(coverage[..., None] >= 128, linear, 0.3 * linear)
    even = ambient(np.ones(3))
    corners = mesh.normals[mesh.faces]
    scene = RayScene([Mesh("object", PROP, mesh.vertices, mesh.faces, corners)])

    def albedo(face: np.ndarray, uv: np.ndarray) -> np.ndarray:
        return between(mesh.albedo[mesh.faces[face]], uv)

    def parts(face: np.ndarray, _uv: np.ndarray) -> np.ndarray:
        return PARTS.numpy()[mesh.part[face] % len(PARTS)]

    def shown(matrix: torch.Tensor, light: np.ndarray, colour: Colour = albedo) -> np.ndarray:
        layers = look(scene, corners, colour, matrix[0].double().cpu().numpy(), SHOWN)
        alpha = layers.alpha[..., None]
        return shade(layers, light) * alpha + BACKGROUND * (1 - alpha)

    own, studio = valid_camera(fit.matrix), studio_light()[0].numpy()
    views = [shown(own, fit.light[0].cpu().numpy()), shown(own, even, parts), shown(own, even)]
    views += [shown(standard_camera(azimuth), studio) for azimuth in (35, 155, 275)]
    return np.concatenate([linear, *views], 1).astype(np.float32)


def run(arguments: argparse.Namespace) -> int:
    """`python -m backend object`: 0, or 1 where no object can be reconstructed."""
    try:
        photograph = read_photograph(arguments.image)
        box: Box | None = tuple(arguments.box) if arguments.box else None
        mask = silhouette(photograph, arguments.image, arguments.mask, box)
        network = cast(Reconstructor, load_model("reconstructor")[0]).to(devices.pick("auto"))
        found = find_object(photograph, mask, network, arguments.refine)
        write(arguments.out, found)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    for notice in found.notices:
        print(notice)
    parts = len(found.mesh.part_albedo())
    print(f"{found.category.capitalize()} ({found.probability:.0%}) of {parts} parts, in {arguments.out}.")
    return 0
