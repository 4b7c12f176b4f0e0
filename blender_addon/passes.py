# SPDX-License-Identifier: GPL-3.0-or-later
"""Result → compositor: one node group, made of image nodes that can be graded, muted and animated.

A result is found by its character's name. Of characters that were harmonized together there is one result, found by
`character.cast_name`, with strengths for each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ..backend.protocol import HarmonizeResult, PenumbraError
from . import compat, looks
from . import plate as plates
from .camera import frame_size
from .character import cast_name
from .pass_nodes import (
    CHARACTER,
    CREATED_TREE,
    IMAGE,
    MEMBERS,
    RECORDS,
    WHITE,
    build,
    new_group,
    new_node,
    new_tint,
    tint_sockets,
)
from .result_files import SOMETIMES, keep_result, kept_records, place_for, records_of, roles, sources

if TYPE_CHECKING:
    from .export import ExportSettings

FRAMES = "penumbra_frames"  # on the group: frames whose images lie in its folder
FORMER = "penumbra_former"  # on the group: node and socket that our link to the output replaced

_DEFAULT_NODES = {"CompositorNodeRLayers", "CompositorNodeComposite", "CompositorNodeViewer", "NodeGroupOutput"}


@dataclass(frozen=True)
class Applied:
    """The character's node in the artist's tree, and whether it reaches the final image."""

    node: bpy.types.Node
    linked: bool
    notices: tuple[str, ...]


def apply_result(
    scene: bpy.types.Scene,
    character: str,
    result: HarmonizeResult,
    folder: Path,
    settings: ExportSettings,
    output_dir: Path | None = None,
) -> Applied:
    """Keep a job's images and show them in the compositor; a character's former result is updated in place.

    The images are copied to `output_dir`, by default ``penumbra/<character>`` beside the .blend file, and packed into
    it where it was never saved or that folder cannot be written. Undo is the caller's. Raises PenumbraError before
    anything changed where an image is missing, or a range of frames has no folder to go to.
    """
    notices: list[str] = []
    frames = [frame.number for frame in result.frames]
    plate = _plate_image(scene, settings, frames[0])
    target = place_for(character, output_dir, len(frames), notices)
    if target is None:
        files, records = sources(result, folder, with_plate=plate is None), records_of(result, folder)
    else:
        files = keep_result(result, folder, target, with_plate=plate is None)
        records = kept_records(target, frames)
    return _show(scene, character, files, frames, records, plate, notices, packed=target is None)


def load_result(scene: bpy.types.Scene, character: str, target: Path, settings: ExportSettings) -> Applied:
    """Show the images that `keep_result` left in a folder, without a backend; those of a character among several are
    shown for all of them. Raises PenumbraError where there are none.
    """
    files: dict[str, dict[int, Path]] = {}
    records = (json.loads(path.read_text("utf-8")) for path in target.glob("frame_*.json"))
    names = next((record["characters"] for record in records), [character])
    character = cast_name(names) if character in names else character
    for role in (*roles(names), *SOMETIMES, "plate"):
        for path in sorted(target.glob(f"{role}_*.exr")):
            files.setdefault(role, {})[int(path.stem.rpartition("_")[2])] = path
    frames = sorted(set.intersection(*(set(files.get(role, ())) for role in roles(names))))
    if not frames:
        raise PenumbraError(
            f"There is no result in {target}.", "Choose the folder that holds shading_0001.exr and the like."
        )
    for role in SOMETIMES:
        if not set(frames) <= set(files.get(role, ())):
            files.pop(role, None)
    plate = _plate_image(scene, settings, frames[0])
    if plate is not None or "plate" not in files:
        files.pop("plate", None)
    return _show(scene, character, files, frames, kept_records(target, frames), plate, [])


def _show(
    scene: bpy.types.Scene,
    character: str,
    files: dict[str, dict[int, Path]],
    frames: list[int],
    records: dict[str, dict[str, Any]],
    plate: plates.Plate | None,
    notices: list[str],
    packed: bool = False,
) -> Applied:
    """Make or update a character's node from images: role → frame → file."""
    if plate is None and "plate" not in files:
        raise PenumbraError(
            "The plate of this result is missing.", "Give the camera a background image, or pick an image in the panel."
        )
    tree, created = _tree(scene)
    node = result_node(scene, character)
    names = records.get(str(frames[0]), {}).get("characters") or [character]
    group = node.node_tree if node else new_group(character, names, created)
    made = len(frames)
    frames = sorted({*frames, *(() if packed else group.get(FRAMES, ()))})
    group[FRAMES] = frames
    group[RECORDS] = json.dumps({**json.loads(group.get(RECORDS, "{}")), **records})
    last = max(files["shading"])
    span = frames if frames[-1] - frames[0] + 1 == len(frames) else [last]
    if not packed and made > 1 and len(span) == 1:
        notices.append("The frames have gaps, so the compositor shows the last one only.")
    images = {
        role: _image(character, role, paths[max(paths) if len(span) == 1 else min(paths)], len(span) > 1)
        for role, paths in files.items()
    }
    if packed:
        _pack(images, character)
    for name in tint_sockets(members(node)) if node else ():
        if name not in node.inputs:  # a result of before there were tints
            new_tint(group, name)
            node.inputs[name].default_value = WHITE
    build(group, images, span, plate)
    if node is None:
        node = _new_node(tree, group, character)
        _link(tree, node)
        notices += _make_room(scene, character, names)
    linked = _reaches_output(tree, node)
    return Applied(node, linked, (*notices, *_link_notices(scene, node, linked)))


def _make_room(scene: bpy.types.Scene, character: str, names: Sequence[str]) -> Iterator[str]:
    """Take out earlier results that show some of the same characters; yields notices."""
    for other, node in result_nodes(scene).items():
        if other != character and set(names) & set(members(node)):
            remove_result(scene, other)
            yield f"The result of “{other}” was taken out: “{character}” shows it now."
        elif other != character:
            yield f"“{other}” has a result of its own: select all, and their shadows join where they meet."


def casts(scene: bpy.types.Scene) -> list[tuple[str, ...]]:
    """The characters of each result in the scene's compositor."""
    return [members(node) for node in result_nodes(scene).values()]


def members(node: bpy.types.Node) -> tuple[str, ...]:
    """The characters of a result."""
    return tuple(json.loads(node.node_tree[MEMBERS]))


def result_nodes(scene: bpy.types.Scene) -> dict[str, bpy.types.Node]:
    """The node of each character that has a result in the scene's compositor."""
    tree = compat.compositor_tree(scene)
    nodes = tree.nodes if tree else ()
    groups = ((node, getattr(node, "node_tree", None)) for node in nodes if node.bl_idname == "CompositorNodeGroup")
    return {group[CHARACTER]: node for node, group in groups if group is not None and CHARACTER in group}


def result_node(scene: bpy.types.Scene, character: str) -> bpy.types.Node | None:
    """A character's node; "Mute", "Compare", `strength_sockets` and `tint_sockets` are the result's controls."""
    return result_nodes(scene).get(character)


def outdated(context: bpy.types.Context, character: str, settings: ExportSettings) -> list[str]:
    """Which of "pose", "camera" and "plate" have changed since the result of the current frame was made."""
    node = result_node(context.scene, character)
    if node is None or context.scene.camera is None:
        return []
    rigs = [context.view_layer.objects.get(name) for name in members(node)]
    if not all(rig is not None and rig.type == "ARMATURE" for rig in rigs):
        return []
    made_of = record(node, context.scene.frame_current).get("look", {})
    try:
        plate = plates.find_plate(context.scene, settings)
    except PenumbraError:
        plate = None
    now = looks.look(context.evaluated_depsgraph_get(), rigs, plate) if made_of else {}
    return [name for name, was in made_of.items() if now.get(name) != was]


def role_image(character: str, role: str) -> bpy.types.Image | None:
    """The image of one role of a character's result."""
    mark = f"{character}/{role}"
    return next((image for image in bpy.data.images if image.get(IMAGE) == mark), None)


def result_frames(scene: bpy.types.Scene, character: str) -> list[int]:
    """The frames of a character's result. Raises PenumbraError where it has none."""
    node = result_node(scene, character)
    frames = list(node.node_tree[FRAMES]) if node else []
    if not frames or role_image(character, "shading") is None:
        raise PenumbraError(f"“{character}” has no result.", "Run Harmonize Shading first.")
    return frames


def shown_frame(scene: bpy.types.Scene, character: str) -> int:
    """The frame of a character's result that the compositor shows now. Raises PenumbraError where it has none."""
    return min(result_frames(scene, character), key=lambda number: abs(number - scene.frame_current))


def kept_folder(scene: bpy.types.Scene, character: str, kind: str, suffix: str) -> Path:
    """The folder of a result that keeps "rics" or "probe" beside the images of all its frames. Raises PenumbraError."""
    frames, folder = result_frames(scene, character), result_folder(character)
    if not all((folder / f"{kind}_{number:04d}.{suffix}").is_file() for number in frames):
        raise _not_kept()
    return folder


def result_folder(character: str) -> Path:
    """The folder of a result's images. Raises PenumbraError where they are packed."""
    image = role_image(character, "shading")
    if image is None or image.packed_file:
        raise _not_kept()
    return Path(bpy.path.abspath(image.filepath)).parent


def _not_kept() -> PenumbraError:
    return PenumbraError(
        "What lights this result again is not beside its images.",
        "Save the .blend file, and run Harmonize Shading once more.",
    )


def record(node: bpy.types.Node, frame: int) -> dict[str, Any]:
    """What a frame of a result was made of: "key", "look" and the "light" that was found; empty where unknown."""
    return json.loads(node.node_tree.get(RECORDS, "{}")).get(str(frame), {})


def link_to_output(scene: bpy.types.Scene, character: str) -> None:
    """Make a character's node the final image, over what is linked there; `remove_result` links that again."""
    node = _require(scene, character)
    tree = compat.compositor_tree(scene)
    target = compat.final_input(tree) or compat.create_final_input(tree)
    if target.is_linked and target.links[0].from_node != node:
        former = target.links[0].from_socket
        node.node_tree[FORMER] = [former.node.name, former.identifier]
    tree.links.new(node.outputs["Image"], target)


def remove_result(scene: bpy.types.Scene, character: str) -> None:
    """Take a character's node, group and images out of the file again, and close the gap that they leave.

    The image files stay where they are, for undo.
    """
    node = _require(scene, character)
    tree, group = compat.compositor_tree(scene), node.node_tree
    targets = [link.to_socket for link in node.outputs["Image"].links]
    source = node.inputs["Plate"].links[0].from_socket if node.inputs["Plate"].is_linked else _former(tree, group)
    created = bool(group.get(CREATED_TREE))
    tree.nodes.remove(node)
    if source is not None:
        for target in targets:
            tree.links.new(source, target)
    if group.users == 0:
        images = [image for image in bpy.data.images if str(image.get(IMAGE, "")).startswith(f"{character}/")]
        bpy.data.node_groups.remove(group)
        bpy.data.batch_remove([image for image in images if image.users == 0])
    if created:
        others = result_nodes(scene)
        if others:
            next(iter(others.values())).node_tree[CREATED_TREE] = True
        elif len(tree.nodes) == 1 and compat.final_input(tree) is not None:
            compat.remove_compositor_tree(scene)


# Images.


def _plate_image(scene: bpy.types.Scene, settings: ExportSettings, frame: int) -> plates.Plate | None:
    """The artist's plate where its pixels are the frame's; None where the job's resampled one has to be shown."""
    try:
        plate = plates.find_plate(scene, settings, frame)
        return plate if plate.fits(frame_size(scene.render), frame) else None
    except PenumbraError:  # the scene may have changed while the backend worked
        return None


def _image(character: str, role: str, path: Path, sequence: bool) -> bpy.types.Image:
    image = role_image(character, role)
    if image is None:
        image = bpy.data.images.load(str(path))
        image[IMAGE] = f"{character}/{role}"
        image.name = f"{character} {role.capitalize()}"
    if image.packed_file:
        image.unpack(method="REMOVE")
    image.source = "SEQUENCE" if sequence else "FILE"
    image.filepath = _relative(path)
    # Colour and coverage of the albedo are separate; its alpha must not be multiplied in or taken out again.
    image.alpha_mode = "PREMUL" if role == "plate" else "CHANNEL_PACKED"
    image.colorspace_settings.name = "Linear Rec.709" if role in {"albedo", "plate"} else "Non-Color"
    image.reload()
    return image


def _relative(path: Path) -> str:
    if not bpy.data.filepath:
        return str(path)
    try:
        return bpy.path.relpath(str(path))
    except ValueError:  # another drive
        return str(path)


def _pack(images: dict[str, bpy.types.Image], character: str) -> None:
    for role, image in images.items():
        image.pack()
        image.filepath_raw = f"//penumbra/{bpy.path.clean_name(character)}/{role}{Path(image.filepath).suffix}"


# The artist's tree.


def _tree(scene: bpy.types.Scene) -> tuple[bpy.types.NodeTree, bool]:
    """The compositor tree, and whether it was created now."""
    check(scene)
    tree = compat.compositor_tree(scene)
    return (tree, False) if tree is not None else (compat.create_compositor_tree(scene), True)


def check(scene: bpy.types.Scene) -> None:
    """Raises PenumbraError where no result can be shown in the scene's compositor."""
    if compat.compositor_tree(scene) is None and compat.has_dormant_tree(scene):
        raise PenumbraError(
            "The scene's compositor nodes are switched off.",
            "Switch on Use Nodes in the compositor, or delete its nodes.",
            fix="penumbra.use_compositor",
        )


def _new_node(tree: bpy.types.NodeTree, group: bpy.types.NodeTree, character: str) -> bpy.types.Node:
    right = max((n.location.x for n in tree.nodes), default=0.0)
    above = max((n.location.y for n in tree.nodes), default=0.0) + (340 if len(tree.nodes) > 1 else 0)
    node = new_node(tree, "CompositorNodeGroup", right - 280, above)  # left of the output, clear of the artist's nodes
    node.node_tree, node.width = group, 200
    node.name = node.label = f"Penumbra {character}"
    return node


def _link(tree: bpy.types.NodeTree, node: bpy.types.Node) -> None:
    """Link a new node to the output where that is free, or shows a former character, or Blender's default."""
    target = compat.final_input(tree) or compat.create_final_input(tree)
    if not target.is_linked:
        tree.links.new(node.outputs["Image"], target)
        return
    former = target.links[0].from_socket
    if CHARACTER in (getattr(former.node, "node_tree", None) or {}):
        tree.links.new(former, node.inputs["Plate"])
        tree.links.new(node.outputs["Image"], target)
    elif _is_default(tree, node):
        node.node_tree[FORMER] = [former.node.name, former.identifier]
        tree.links.new(node.outputs["Image"], target)


def _is_default(tree: bpy.types.NodeTree, ours: bpy.types.Node) -> bool:
    """Whether the tree only passes the render layer on, as Blender makes it."""
    kinds = [n.bl_idname for n in tree.nodes if n != ours and n.bl_idname != "NodeReroute"]
    return set(kinds) <= _DEFAULT_NODES and kinds.count("CompositorNodeRLayers") == 1


def _former(tree: bpy.types.NodeTree, group: bpy.types.NodeTree) -> bpy.types.NodeSocket | None:
    name, identifier = group.get(FORMER, ("", ""))
    node = tree.nodes.get(name)
    return next((s for s in node.outputs if s.identifier == identifier), None) if node else None


def _reaches_output(tree: bpy.types.NodeTree, node: bpy.types.Node) -> bool:
    seen, pending = set(), [node]
    final = compat.final_input(tree)
    while pending:
        current = pending.pop()
        if final is not None and current == final.node:
            return True
        if current.name not in seen:
            seen.add(current.name)
            pending += [link.to_node for socket in current.outputs for link in socket.links]
    return False


def _link_notices(scene: bpy.types.Scene, node: bpy.types.Node, linked: bool) -> Iterator[str]:
    if not linked:
        yield f"The compositor's output shows your own nodes: link the Image of “{node.label}” where you want it."
    if not scene.render.use_compositing:
        yield "Renders skip the compositor: switch on Compositing in Output, Post Processing."


def _require(scene: bpy.types.Scene, character: str) -> bpy.types.Node:
    node = result_node(scene, character)
    if node is None:
        raise PenumbraError(f"“{character}” has no result in the compositor.", "Run Harmonize Shading first.")
    return node
