# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the characters in whatever of them is selected, and what every other object is to their light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import bpy

from ..backend.protocol import CHARACTER, HOLDOUT, PROP, RECEIVER, PenumbraError

MESHABLE = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
UNTRACEABLE = {
    "CURVES": "hair curves",
    "POINTCLOUD": "a point cloud",
    "VOLUME": "a volume",
    "GREASEPENCIL": "Grease Pencil",
    "GPENCIL": "Grease Pencil",
}
Followers = dict[bpy.types.Object, list[bpy.types.Object]]


@dataclass(frozen=True)
class Character:
    """A rigged character.

    name: of its armature.
    parts: every object that belongs to it and is rendered in the view layer, by name.
    untraceable: one sentence for each part that is rendered but cannot be shaded.
    """

    name: str
    armature: bpy.types.Object
    parts: tuple[bpy.types.Object, ...]
    untraceable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cast:
    """The characters that are harmonized together, one or several: they shade and shadow each other."""

    characters: tuple[Character, ...]

    @property
    def name(self) -> str:
        """By which their result is found."""
        return cast_name(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(character.name for character in self.characters)

    @property
    def armatures(self) -> tuple[bpy.types.Object, ...]:
        return tuple(character.armature for character in self.characters)

    @property
    def owners(self) -> dict[bpy.types.Object, str]:
        """All parts, each with its character's name; what follows several is the first one's."""
        return {part: one.name for one in reversed(self.characters) for part in one.parts}

    @property
    def untraceable(self) -> tuple[str, ...]:
        return tuple(sentence for character in self.characters for sentence in character.untraceable)


def cast_name(names: Iterable[str]) -> str:
    return " & ".join(names)


def find_cast(objects: Iterable[bpy.types.Object], view_layer: bpy.types.ViewLayer) -> Cast:
    """The characters that the selected objects belong to, in the order of their names.

    objects: any of their armatures, bodies, clothes, parented props, or the empty above them.
    Raises PenumbraError where nothing is selected, or there is no armature.
    """
    objects = [o for o in objects if o is not None]
    if not objects:
        raise PenumbraError("No character is selected.", "Select the armature or any mesh of the character.")
    rigs = {rig: None for o in objects for rig in _rigs_of(o)}
    if not rigs:
        raise PenumbraError(
            f"“{objects[0].name}” has no armature.",
            "Select a rigged character, or parent the mesh to an armature (Ctrl P).",
        )
    followers = _followers()
    rigged = [rig for rig in rigs if any(part.type in MESHABLE for part in _parts(rig, followers))]
    return _cast(rigged or list(rigs)[:1], view_layer, followers)


def cast_named(names: Iterable[str], view_layer: bpy.types.ViewLayer) -> Cast:
    """The characters whose armatures, or any of their parts, have these names. Raises PenumbraError."""
    found = []
    for name in names:
        found.append(view_layer.objects.get(name))
        if found[-1] is None:
            raise PenumbraError(f"There is no object “{name}”.", "Name the character's armature or one of its meshes.")
    return find_cast(found, view_layer)


def everybody(view_layer: bpy.types.ViewLayer) -> Cast:
    """All characters of a view layer that have something to render. Raises PenumbraError where there is none."""
    rigs = {rig: None for o in view_layer.objects if o.type == "ARMATURE" for rig in _rigs_of(o)}
    found = _cast(rigs, view_layer, _followers()).characters
    rendered = tuple(c for c in found if any(part.type in MESHABLE for part in c.parts))
    if not rendered:
        raise PenumbraError("There is no rigged character in the scene.", "Parent the meshes to an armature (Ctrl P).")
    return Cast(rendered)


def standing_for(person: bpy.types.Object) -> tuple[bpy.types.Object, ...]:
    """The meshes that stand over a person in the plate: the object's own, and of a rigged one all of its rig."""
    rigs, followers = _rigs_of(person), _followers()
    parts = {part: None for rig in rigs for part in _parts(rig, followers)} or {person: None}
    return tuple(part for part in parts if part.type in MESHABLE)


def without(cast: Cast, person: bpy.types.Object) -> Cast:
    """The characters but for one that stands over a person in the plate. Raises PenumbraError where none is left."""
    meshes = set(standing_for(person))
    kept = tuple(one for one in cast.characters if not meshes & set(one.parts))
    if not kept:
        raise PenumbraError(
            f"“{person.name}” stands for the person in the plate, and there is no other character.",
            "Select the character that is to be lit.",
        )
    return Cast(kept)


def roles(cast: Cast, view_layer: bpy.types.ViewLayer) -> dict[bpy.types.Object, str]:
    """What each object of the view layer that can be rendered is to the characters' light.

    An object's own `hide_render` is not looked at here: it may be animated, and the render evaluates it.
    """
    parts = cast.owners
    found = {}
    for item, held_out in _renderable(view_layer.layer_collection):
        if item.is_holdout or held_out or found.get(item) == HOLDOUT:
            found[item] = HOLDOUT
        elif item in parts:
            found[item] = CHARACTER
        else:
            found[item] = RECEIVER if item.is_shadow_catcher else PROP
    return found


def _renderable(layer: bpy.types.LayerCollection) -> Iterator[tuple[bpy.types.Object, bool]]:
    """Objects of the collections that are rendered, with whether their collection holds them out."""
    if layer.collection.hide_render:
        return
    if not layer.exclude:
        for item in layer.collection.objects:
            yield item, layer.holdout
    for child in layer.children:
        yield from _renderable(child)


def _cast(rigs: Iterable[bpy.types.Object], view_layer: bpy.types.ViewLayer, followers: Followers) -> Cast:
    rendered = {item for item, _ in _renderable(view_layer.layer_collection)}
    found = []
    for rig in sorted(rigs, key=lambda rig: rig.name):
        parts = [part for part in _parts(rig, followers) if part in rendered]
        found.append(Character(rig.name, rig, tuple(parts), tuple(_untraceable(parts))))
    return Cast(tuple(found))


def _rigs_of(item: bpy.types.Object) -> list[bpy.types.Object]:
    """The outermost armatures that move an object; below an empty, those of its children."""
    seen: set[bpy.types.Object] = set()
    rig = None
    pending = [item]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.type == "ARMATURE":
            rig = current
        pending += [leader for leader in _leaders(current) if leader is not None]
    if rig is None:
        below = item.children_recursive
        return [o for o in below if o.type == "ARMATURE" and not _ancestor_is_armature(o)]
    while (outer := _armature_above(rig)) is not None:
        rig = outer
    return [rig]


def _armature_above(rig: bpy.types.Object) -> bpy.types.Object | None:
    parent = rig.parent
    while parent is not None and parent.type != "ARMATURE":
        parent = parent.parent
    return parent


def _ancestor_is_armature(rig: bpy.types.Object) -> bool:
    return _armature_above(rig) is not None


def _leaders(item: bpy.types.Object) -> list[bpy.types.Object | None]:
    """What an object follows: its parent, its armatures, the mesh that its cloth is bound to, a constraint's target."""
    leaders = [item.parent]
    for modifier in item.modifiers:
        if modifier.type in {"ARMATURE", "MESH_DEFORM"}:
            leaders.append(modifier.object)
        elif modifier.type == "SURFACE_DEFORM":
            leaders.append(modifier.target)
    if item.type == "ARMATURE":
        return leaders
    for constraint in item.constraints:
        if constraint.type == "ARMATURE":
            leaders += [target.target for target in constraint.targets]
        elif constraint.type in {"CHILD_OF", "COPY_TRANSFORMS"}:
            leaders.append(constraint.target)
    return leaders


def _followers() -> Followers:
    """What follows each object of the file that is followed."""
    followers: Followers = {}
    for item in bpy.data.objects:
        for leader in _leaders(item):
            if leader is not None:
                followers.setdefault(leader, []).append(item)
    return followers


def _parts(rig: bpy.types.Object, followers: Followers) -> list[bpy.types.Object]:
    """Everything that follows an armature, directly or through other parts."""
    found: dict[bpy.types.Object, None] = {}
    pending = [rig]
    while pending:
        current = pending.pop()
        if current not in found:
            found[current] = None
            pending += followers.get(current, [])
    parts = [item for item in found if item != rig and item.type not in {"CAMERA", "LIGHT", "SPEAKER"}]
    return sorted(parts, key=lambda item: item.name)


def _untraceable(parts: list[bpy.types.Object]) -> Iterator[str]:
    for part in parts:
        if part.hide_render:
            continue
        if part.type in UNTRACEABLE:
            yield f"“{part.name}” is {UNTRACEABLE[part.type]}, which is not shaded: convert it to a mesh."
        for system in part.particle_systems:
            if system.settings.type == "HAIR" and system.settings.render_type == "PATH":
                yield f"The hair “{system.name}” of “{part.name}” is not shaded: convert it to a mesh."
