# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported objects that change afterwards: sliders along their category's shapes, another category, others' codes.

A mesh of Import Object from Image keeps the network's codes. Its sliders are the mesh's, so linked copies change
together; the backend makes the new surface, which replaces the old one. Materials stay, a part keeps its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np

from ..backend.import_jobs import SHAPE_SLIDERS, EditedObject, ObjectResult, ReshapeJob, ReshapeResult, part_albedo
from ..backend.protocol import PenumbraError
from . import from_photograph, jobs, preferences, rig
from .from_photograph import backend_steps, new_material
from .jobs import Outcome, Progress

TITLE = "Reshape Object"
CODES = "penumbra_codes"  # custom property of a mesh: its codes, and what they are of
PARTS = "penumbra_parts"  # the part that each material slot is of
KEPT = ("category", "shape", "albedo", "camera", "levels")  # what `EditedObject` has of the network and the picture
EXCHANGES = {"SHAPE": ("category", "shape", "camera", "levels"), "ALBEDO": ("albedo",)}  # of these, what changes places
REST = 0.4  # seconds without a change after which the sliders are followed


_kept_items: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}  # Blender needs the texts to stay in memory


def _items(shape: PenumbraShape, _context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    mesh = shape.id_data
    kinds = tuple(mesh[CODES]["kinds"]) if CODES in mesh else ("",)
    return _kept_items.setdefault(kinds, [(kind, kind.title(), "") for kind in kinds])


def _moved(shape: PenumbraShape, _context: bpy.types.Context) -> None:
    mark(shape.id_data)


class PenumbraShape(bpy.types.PropertyGroup):
    """What was done to the shape of an imported object."""

    sliders: bpy.props.FloatVectorProperty(
        name="Shape",
        description="Along the main differences between objects of its kind, in standard deviations",
        size=SHAPE_SLIDERS,
        soft_min=-3,
        soft_max=3,
        update=_moved,
    )
    toward: bpy.props.EnumProperty(
        name="Toward",
        description="The kind of object that it is moved toward",
        items=_items,
        update=_moved,
    )
    amount: bpy.props.FloatProperty(
        name="Amount",
        description="How far it is moved toward the other kind",
        subtype="FACTOR",
        min=0,
        max=1,
        update=_moved,
    )


def remember(mesh: bpy.types.Mesh, result: ObjectResult, codes: dict[str, np.ndarray], side: int) -> None:
    """Keep the codes of a new object with its mesh."""
    plain = {name: code.astype(float).ravel().tolist() for name, code in codes.items()}
    mesh[CODES] = {**plain, "kind": result.category, "kinds": list(result.kinds), "side": side}
    with _quiet():
        mesh.penumbra_shape.toward = result.category


def imported(obj: bpy.types.Object | None) -> bool:
    """Whether an object's mesh has codes."""
    return obj is not None and obj.type == "MESH" and CODES in obj.data


@dataclass(frozen=True)
class Target:
    """A mesh and what it is to become. recolour: its materials get the parts' new albedo, where nothing drives it."""

    mesh: bpy.types.Mesh
    edited: EditedObject
    recolour: bool = False


def target_of(mesh: bpy.types.Mesh) -> Target:
    """What the sliders of a mesh ask for."""
    kept, shape = mesh[CODES], mesh.penumbra_shape
    codes = {name: tuple(kept.get(name, ())) for name in KEPT}
    edit = {"sliders": tuple(shape.sliders), "toward": shape.toward, "amount": shape.amount}
    return Target(mesh, EditedObject(**codes, kind=kept["kind"], side=kept["side"], **edit))


def exchanged(first: bpy.types.Mesh, second: bpy.types.Mesh, what: str) -> tuple[Target, Target]:
    """Two objects with each other's shape (with its sliders) or albedo."""
    a, b = target_of(first), target_of(second)
    names = (*EXCHANGES[what], *(("kind", "sliders", "toward", "amount") if what == "SHAPE" else ()))

    def with_those_of(own: Target, other: Target) -> Target:
        taken = {name: getattr(other.edited, name) for name in names}
        return replace(own, edited=replace(own.edited, **taken), recolour=what == "ALBEDO")

    return with_those_of(a, b), with_those_of(b, a)


def check(meshes: list[bpy.types.Mesh]) -> None:
    """Raises PenumbraError where they cannot be reshaped now."""
    from_photograph.check_weights("reconstructor")
    if any(mesh.is_editmode for mesh in meshes):
        raise PenumbraError("The object is being edited.", "Leave Edit Mode.")
    if any(mesh.library for mesh in meshes):
        raise PenumbraError("The object is linked from another file.", "Make it local.")
    if any(mesh.shape_keys for mesh in meshes):
        raise PenumbraError("The object has shape keys, which belong to its present surface.", "Remove them.")


def reshape(targets: tuple[Target, ...], title: str = TITLE) -> jobs.Steps:
    """The whole job: the meshes change in the last step, and as one step of undo. Raises PenumbraError."""
    check([target.mesh for target in targets])
    uids = [target.mesh.session_uid for target in targets]

    def finish(folder: Path) -> Outcome:
        result = ReshapeResult.load(folder)
        found = [mesh_of(uid) for uid in uids]
        check(found)
        surfaces = [_loaded(folder / name) for name in result.meshes]
        for mesh, target, surface in zip(found, targets, surfaces, strict=True):
            _become(mesh, target, surface)
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=title)
        count = len(found)
        return Outcome("The object has its new shape" if count == 1 else f"{count} objects have their new shapes")

    job = ReshapeJob(tuple(target.edited for target in targets), preferences.preferred_device())
    return (yield from backend_steps(job, finish, Progress("Adding to the scene", 0.95)))


def mesh_of(session_uid: int) -> bpy.types.Mesh:
    """Raises PenumbraError where the mesh is gone."""
    for mesh in bpy.data.meshes:
        if mesh.session_uid == session_uid:
            return mesh
    raise PenumbraError("The object was deleted while Penumbra worked on it.", "Undo, and run again.")


def _loaded(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def fill(mesh: bpy.types.Mesh, vertices: np.ndarray, faces: np.ndarray, albedo: np.ndarray, part: np.ndarray) -> None:
    """Give an empty mesh a surface; see `ObjectResult`. It stands on z = 0.

    Attributes: "part" of the faces, "Albedo" of the vertices; a material slot for each part, kept where there is one.
    """
    up = np.array([0, 0, -float(vertices[:, 1].min())])
    mesh.from_pydata(rig.to_blender(vertices) + up, [], faces.tolist())
    mesh.shade_smooth()
    mesh.attributes.new("part", "INT", "FACE").data.foreach_set("value", part.astype(np.int32))
    colours = np.ones((len(vertices), 4), np.float32)
    colours[:, :3] = albedo
    mesh.color_attributes.new("Albedo", "FLOAT_COLOR", "POINT").data.foreach_set("color", colours.ravel())
    slots = list(mesh.get(PARTS, ()))
    for number, colour in part_albedo(faces, albedo, part).items():
        if number not in slots:
            slots.append(number)
            mesh.materials.append(_material(f"{mesh.name} Part {number}", colour))
    mesh[PARTS] = slots
    mesh.polygons.foreach_set("material_index", np.array([slots.index(n) for n in part], np.int32))


def _become(mesh: bpy.types.Mesh, target: Target, surface: dict[str, np.ndarray]) -> None:
    mesh.clear_geometry()
    fill(mesh, **surface)
    mesh.update()
    edited = target.edited
    kept = {name: list(getattr(edited, name)) for name in KEPT}
    mesh[CODES] = {**mesh[CODES].to_dict(), **kept, "kind": edited.kind}
    with _quiet():
        mesh.penumbra_shape.sliders = edited.sliders
        mesh.penumbra_shape.toward, mesh.penumbra_shape.amount = edited.toward, edited.amount
    if target.recolour:
        for number, colour in part_albedo(surface["faces"], surface["albedo"], surface["part"]).items():
            _recolour(mesh.materials[list(mesh[PARTS]).index(number)], colour)


def _material(name: str, albedo: np.ndarray) -> bpy.types.Material:
    material, shader = new_material(name)
    shader.inputs["Base Color"].default_value = material.diffuse_color = (*albedo, 1)
    return material


def _recolour(material: bpy.types.Material | None, albedo: np.ndarray) -> None:
    """Materials that the artist has replaced or wired stay as they are."""
    shader = material and material.node_tree and material.node_tree.nodes.get("Principled BSDF")
    if shader and not shader.inputs["Base Color"].is_linked:
        shader.inputs["Base Color"].default_value = material.diffuse_color = (*albedo, 1)


# Sliders are followed once they rest.

_marked: dict[int, None] = {}  # session uids of meshes whose sliders have moved
_is_quiet = False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Sliders that are set within it are not followed."""
    global _is_quiet
    _is_quiet = True
    try:
        yield
    finally:
        _is_quiet = False


def mark(mesh: bpy.types.ID) -> None:
    """The sliders of a mesh have moved."""
    if _is_quiet or CODES not in mesh:
        return
    _marked[mesh.session_uid] = None
    if bpy.app.timers.is_registered(_follow):
        bpy.app.timers.unregister(_follow)  # they have not come to rest
    bpy.app.timers.register(_follow, first_interval=REST)


def _follow() -> float | None:
    """Reshape what is marked; returns when to come again where something else is at work."""
    if jobs.running():
        return REST
    uids = list(_marked)
    _marked.clear()
    try:
        targets = tuple(target_of(mesh) for mesh in _those(uids))
        if targets:
            jobs.start(jobs.Job(reshape(targets), TITLE))
    except PenumbraError as problem:
        print(f"Penumbra: {problem}")
    return None


def _those(uids: list[int]) -> Iterator[bpy.types.Mesh]:
    for mesh in bpy.data.meshes:
        if mesh.session_uid in uids and CODES in mesh:
            yield mesh


def register() -> None:
    bpy.utils.register_class(PenumbraShape)
    bpy.types.Mesh.penumbra_shape = bpy.props.PointerProperty(type=PenumbraShape)


def unregister() -> None:
    if bpy.app.timers.is_registered(_follow):
        bpy.app.timers.unregister(_follow)
    del bpy.types.Mesh.penumbra_shape
    bpy.utils.unregister_class(PenumbraShape)
