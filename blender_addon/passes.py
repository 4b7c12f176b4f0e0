# SPDX-License-Identifier: GPL-3.0-or-later
"""Result → compositor: one node group, made of image nodes that can be graded, muted and animated.

A result is found by its character's name. Of characters that were harmonized together there is one result, found by
`character.cast_name`, with strengths for each.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ..backend.protocol import HarmonizeJob, HarmonizeResult, PenumbraError, reading_result, replacing, write_json
from . import compat, export, grain, looks, wipe
from . import plate as plates
from .camera import frame_size

if TYPE_CHECKING:
    from .export import ExportSettings

# Custom properties by which our datablocks are found, whatever the artist calls them.
CHARACTER = "penumbra_character"  # on the group: the name of its character, or of its cast
MEMBERS = "penumbra_members"  # on the group: the names of its characters, as JSON
IMAGE = "penumbra_image"  # on an image: "character/role"
FRAMES = "penumbra_frames"  # on the group: frames whose images lie in its folder
CREATED_TREE = "penumbra_created_tree"  # on the group: the compositor was empty before
RECORDS = "penumbra_records"  # on the group: what its frames were made of and the light found, as JSON
FORMER = "penumbra_former"  # on the group: node and socket that our link to the output replaced

WHITE = (1.0, 1.0, 1.0, 1.0)
ROLES = ("albedo", "shading", "shadow", "occlusion")
SOMETIMES = ("grain", "gloss")  # images that not every result has
GLOSS = "Gloss"  # input and output of a result that has it
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
    target = _target(character, output_dir, len(frames), notices)
    if target is None:
        files, records = _sources(result, folder, with_plate=plate is None), _records(result, folder)
    else:
        files = keep_result(result, folder, target, with_plate=plate is None)
        records = _kept_records(target, frames)
    return _show(scene, character, files, frames, records, plate, notices, packed=target is None)


def load_result(scene: bpy.types.Scene, character: str, target: Path, settings: ExportSettings) -> Applied:
    """Show the images that `keep_result` left in a folder, without a backend. Raises PenumbraError where none are."""
    files: dict[str, dict[int, Path]] = {}
    records = (json.loads(path.read_text("utf-8")) for path in target.glob("frame_*.json"))
    names = next((record["characters"] for record in records), [character])
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
    return _show(scene, character, files, frames, _kept_records(target, frames), plate, [])


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
    group = node.node_tree if node else _new_group(character, names, created)
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
            _new_tint(group, name)
            node.inputs[name].default_value = WHITE
    _build(group, images, span, plate)
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


def roles(names: Sequence[str]) -> tuple[str, ...]:
    """The images that a result of these characters has; those of one of several are numbered."""
    numbers = range(1, len(names) + 1) if len(names) > 1 else ()
    return (*ROLES, *(f"{kind}{i}" for i in numbers for kind in ("shadow", "matte")))


def strength_sockets(names: Sequence[str]) -> list[tuple[str, str]]:
    """For each of a result's characters the names of its node's inputs for shading and shadow."""
    return [(f"{prefix}Shading Strength", f"{prefix}Shadow Strength") for prefix in _prefixes(names)]


def tint_sockets(names: Sequence[str]) -> list[str]:
    """For each of a result's characters the name of its node's input for the colour of the light that it takes."""
    return [f"{prefix}Shadow Tint" for prefix in _prefixes(names)]


def _prefixes(names: Sequence[str]) -> list[str]:
    return ["" if len(names) == 1 else f"{name} " for name in names]


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


# The plate must reach the screen as it is.


def plate_deviations(scene: bpy.types.Scene) -> tuple[str, ...]:
    """What would change the plate between its file and the rendered image; empty where nothing does."""
    view = scene.view_settings
    checks = (
        (view.view_transform != "Standard", f"view transform {view.view_transform}"),
        (view.look != "None", f"look {view.look}"),
        (abs(view.exposure) > 1e-6, "exposure"),
        (abs(view.gamma - 1.0) > 1e-6, "gamma"),
        (view.use_curve_mapping, "colour curves"),
        (view.use_white_balance, "white balance"),
        (scene.render.dither_intensity > 0.0, "dither"),
    )
    return tuple(name for changes, name in checks if changes)


def is_plate_exact(scene: bpy.types.Scene) -> bool:
    """Whether pixels without character and shadow come out as the photograph has them."""
    return not plate_deviations(scene)


def make_plate_exact(scene: bpy.types.Scene) -> None:
    """The Standard view without any grading, and no dither."""
    view = scene.view_settings
    view.view_transform = "Standard"
    view.look = "None"
    view.exposure, view.gamma = 0.0, 1.0
    view.use_curve_mapping = view.use_white_balance = False
    scene.render.dither_intensity = 0.0


# Files.


def _plate_image(scene: bpy.types.Scene, settings: ExportSettings, frame: int) -> plates.Plate | None:
    """The artist's plate where its pixels are the frame's; None where the job's resampled one has to be shown."""
    try:
        plate = plates.find_plate(scene, settings, frame)
        return plate if plate.fits(frame_size(scene.render), frame) else None
    except PenumbraError:  # the scene may have changed while the backend worked
        return None


def _sources(result: HarmonizeResult, folder: Path, *, with_plate: bool) -> dict[str, dict[int, Path]]:
    """role → frame → file, all of which exist."""
    found: dict[str, dict[int, Path]] = {}
    for frame in result.frames:
        files = {role: file for role in (*ROLES, *SOMETIMES) if (file := getattr(frame, role))}
        for i, name in enumerate(frame.mattes, 1):
            files |= {f"shadow{i}": frame.shadows[name], f"matte{i}": frame.mattes[name]}
        for role, file in files.items():
            found.setdefault(role, {})[frame.number] = folder / file
    if with_plate:
        found["plate"] = {frame.number: Path(frame.plate) for frame in HarmonizeJob.load(folder).frames}
        found["plate"] = {number: found["plate"][number] for number in found["shading"]}
    for role, paths in found.items():
        for number, path in paths.items():
            if not path.is_file():
                raise PenumbraError(f"The {role} image of frame {number} is missing.", "Run Harmonize Shading again.")
    return found


def _target(character: str, output_dir: Path | None, count: int, notices: list[str]) -> Path | None:
    """The folder for the images; None where they are to be packed."""
    target = folder_of(character, output_dir) if output_dir or bpy.data.filepath else None
    if target is not None:
        try:
            export.make_writable(target)
            return target
        except PenumbraError as problem:
            if output_dir is not None or count > 1:
                raise
            notices.append(f"The result is packed into the .blend file. {problem.message}")
    if count > 1:
        raise PenumbraError("A range of frames needs a folder.", "Save the .blend file first, and run again.")
    return None


def keep_result(
    result: HarmonizeResult, folder: Path, target: Path, *, with_plate: bool, facts: Mapping[str, Any] | None = None
) -> dict[str, dict[int, Path]]:
    """Copy a job's images to where they stay, with what re-lighting needs; a frame's record comes last.

    facts: what the records are to hold besides. Returns role → frame → file. The files of a frame take the place of
    its former ones once all of them are written. Raises PenumbraError.
    """
    kept: dict[str, dict[int, Path]] = {}
    sources, records = _sources(result, folder, with_plate=with_plate), _records(result, folder)
    for frame in result.frames:
        number = frame.number
        with contextlib.ExitStack() as written:
            for role, paths in sources.items():
                kept.setdefault(role, {})[number] = target / f"{role}_{number:04d}{paths[number].suffix}"
                _copy(paths[number], kept[role][number], written)
            for name in ("rics", "probe", "cast", "multilayer"):
                path = folder / getattr(frame, name)
                if path.is_file():
                    name = "penumbra" if name == "multilayer" else name
                    _copy(path, target / f"{name}_{number:04d}{path.suffix}", written)
        if not frame.cast:  # an earlier run's shadow could be cast again, this one's cannot
            (target / f"cast_{number:04d}.npz").unlink(missing_ok=True)
        write_json(record_path(target, number), {**records.get(str(number), {}), **(facts or {})})
    return kept


def record_path(target: Path, number: int) -> Path:
    """The file that says what a frame's images were made of; it is there once all of them are."""
    return target / f"frame_{number:04d}.json"


def _kept_records(target: Path, frames: list[int]) -> dict[str, dict[str, Any]]:
    paths = {number: record_path(target, number) for number in frames}
    return {str(number): json.loads(path.read_text("utf-8")) for number, path in paths.items() if path.is_file()}


@reading_result()
def _records(result: HarmonizeResult, folder: Path) -> dict[str, dict[str, Any]]:
    """By frame: its characters, the key and look of its input, and the light that was found. Raises PenumbraError."""
    if not (folder / "job.json").is_file():
        return {}
    job = HarmonizeJob.load(folder)
    asked = {frame.number: frame for frame in job.frames}
    records = {}
    for frame in result.frames:
        probe = json.loads((folder / frame.probe).read_text("utf-8"))
        light = {name: probe.get(name) for name in ("dominant_direction_world", "strength", "confidence")}
        records[str(frame.number)] = {
            "characters": list(job.characters),
            "key": asked[frame.number].key,
            "look": asked[frame.number].look,
            "light": light,
            "photograph": frame.photograph,
        }
    return records


def folder_of(character: str, output_dir: Path | None) -> Path:
    """Where a character's images go, by default beside the .blend file. Raises PenumbraError where it has no place."""
    if output_dir is None and not bpy.data.filepath:
        raise PenumbraError("The .blend file has no place yet.", "Save it first, or name a folder.")
    return (output_dir or Path(bpy.data.filepath).parent / "penumbra") / bpy.path.clean_name(character)


def _copy(source: Path, target: Path, written: contextlib.ExitStack) -> None:
    """Copy to a temporary name, which becomes the target's when `written` is left without an error."""
    try:
        shutil.copyfile(source, written.enter_context(replacing(target)))
    except OSError as problem:
        raise PenumbraError(
            f"{target.name} could not be written ({problem.strerror}).", "Free some space on the disk and run again."
        ) from problem


# Images.


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


# The group.


def _new_group(character: str, names: Sequence[str], created: bool) -> bpy.types.NodeTree:
    group = bpy.data.node_groups.new("Penumbra", "CompositorNodeTree")
    group[CHARACTER], group[MEMBERS] = character, json.dumps(names)
    group[CREATED_TREE] = created
    new = group.interface.new_socket
    new("Plate", in_out="INPUT", socket_type="NodeSocketColor").default_value = (0, 0, 0, 0)
    for (shading, shadow), tint in zip(strength_sockets(names), tint_sockets(names), strict=True):
        _new_factor(group, shading, 1.0)
        _new_factor(group, shadow, 1.0)
        _new_tint(group, tint)
    _new_factor(group, "Mute", 0.0)
    for name in ("Image", "Shading", "Shadow", "Occlusion"):
        new(name, in_out="OUTPUT", socket_type="NodeSocketColor")
    return group


def _new_factor(group: bpy.types.NodeTree, name: str, value: float) -> None:
    socket = group.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketFloat")
    socket.subtype = "FACTOR"
    socket.min_value, socket.max_value, socket.default_value = 0.0, 1.0, value


def _set_gloss_sockets(group: bpy.types.NodeTree, has_gloss: bool) -> None:
    there = [item for item in group.interface.items_tree if item.item_type == "SOCKET" and item.name == GLOSS]
    if has_gloss and not there:
        _new_factor(group, GLOSS, 1.0)
        group.interface.new_socket(GLOSS, in_out="OUTPUT", socket_type="NodeSocketColor")
    for item in () if has_gloss else there:
        group.interface.remove(item)


def _new_tint(group: bpy.types.NodeTree, name: str) -> None:
    group.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketColor").default_value = WHITE


def _build(
    group: bpy.types.NodeTree, images: dict[str, bpy.types.Image], span: list[int], plate: plates.Plate | None
) -> None:
    """Make the group's nodes: plate × shadows, over it albedo × shading + gloss. Strength 0 makes a factor of 1."""
    group.nodes.clear()
    tints = tint_sockets(json.loads(group[MEMBERS]))
    link = group.links.new
    grain.add_sockets(group)
    _set_gloss_sockets(group, "gloss" in images)
    inputs, output = _node(group, "NodeGroupInput", -800, 400), _node(group, "NodeGroupOutput", 800, 200)
    shown = {role: _image_node(group, image, span, row) for row, (role, image) in enumerate(images.items())}
    background = shown["plate"] if "plate" in shown else _plate_node(group, plate)
    names = [name for sockets in strength_sockets(json.loads(group[MEMBERS])) for name in sockets]
    limited = [inputs.outputs[name] for name in (*names, *grain.SOCKETS, *([GLOSS] if "gloss" in shown else ()))]
    limited = wipe.limited(group, limited, shown["albedo"].outputs["Image"])
    glosses = limited.pop() if "gloss" in shown else None
    *strengths, grains, blurs = limited
    over = _over(group, background.outputs["Image"], inputs.outputs["Plate"])
    shadowed, of_shading = over, None
    for i in range(0, len(strengths), 2):
        own, y = "" if len(strengths) == 2 else str(i // 2 + 1), 100 - 200 * i
        tint = inputs.outputs[tints[i // 2]]
        shadow = _tinted(group, strengths[i + 1], tint, shown[f"shadow{own}"], names[i + 1], y)
        shadowed = _mix(group, "MULTIPLY", 1.0, shadowed, shadow, "Plate × Shadow", (0, y + 200))
        of_shading = _add_own(group, strengths[i], shown.get(f"matte{own}"), of_shading, y - 200)
    shading = _strength(group, of_shading, shown["shading"], "Shading Strength", -150)
    diffuse = _mix(group, "MULTIPLY", 1.0, shown["albedo"].outputs["Image"], shading, "Albedo × Shading", (0, 50))
    # Coverage is the mix's factor; the colours themselves are opaque, as gloss is, from whose side alpha is taken.
    opaque: tuple[float, ...] | bpy.types.NodeSocket = (0, 0, 0, 1)
    if glosses is not None:
        opaque = _mix(group, "MIX", glosses, opaque, shown["gloss"].outputs["Image"], "Gloss Strength", (0, -150))
    gloss = _mix(group, "ADD", 1.0, opaque, diffuse, "Gloss +", (200, 50))
    figure = _mix(group, "MIX", shown["albedo"].outputs["Alpha"], shadowed, gloss, "Character over Plate", (400, 200))
    added = shown["grain"].outputs["Image"] if "grain" in shown else None
    parts = (gloss, shown["albedo"].outputs["Alpha"], shadowed, (grains, blurs))
    figure = grain.as_photographed(group, figure, *parts, added, _measured_blur(group))
    final = _mix(group, "MIX", inputs.outputs["Mute"], figure, over, "Mute", (600, 300))
    link(final, output.inputs["Image"])
    for role in ("shading", "shadow", "occlusion", *(("gloss",) if "gloss" in shown else ())):
        link(shown[role].outputs["Image"], output.inputs[role.capitalize()])
    compat.fit_to_frame(group)


def _measured_blur(group: bpy.types.NodeTree) -> float:
    """Pixels by which the plate is softer than a render, in the median of the frames."""
    measured = [one.get("photograph", {}).get("blur") for one in json.loads(group[RECORDS]).values()]
    return float(np.median([blur for blur in measured if blur is not None] or [0.0]))


def _add_own(
    group: bpy.types.NodeTree,
    strength: bpy.types.NodeSocket,
    matte: bpy.types.Node | None,
    others: bpy.types.NodeSocket | None,
    y: float,
) -> bpy.types.NodeSocket:
    """A strength; of several characters, on each one's matte its own."""
    if matte is None:
        return strength
    node = _node(group, "ShaderNodeMath", -500, y)
    node.operation, node.label = "MULTIPLY_ADD", "Strength by Matte"
    group.links.new(matte.outputs["Image"], node.inputs[0])
    group.links.new(strength, node.inputs[1])
    node.inputs[2].default_value = 0.0
    if others is not None:
        group.links.new(others, node.inputs[2])
    return node.outputs[0]


def _over(group: bpy.types.NodeTree, below: bpy.types.NodeSocket, above: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """A premultiplied image over an opaque one. An Alpha Over node would lose its links on the way from 5.2 to 4.5."""
    alpha = _node(group, "CompositorNodeSeparateColor", -650, 600)
    group.links.new(above, alpha.inputs[0])
    left = _mix(group, "MIX", alpha.outputs["Alpha"], below, (0, 0, 0, 1), "Plate not covered", (-480, 450))
    return _mix(group, "ADD", 1.0, left, above, "Plate", (-250, 400))


def _strength(
    group: bpy.types.NodeTree, factor: bpy.types.NodeSocket, image: bpy.types.Node, label: str, y: float
) -> bpy.types.NodeSocket:
    return _mix(group, "MIX", factor, (1, 1, 1, 1), image.outputs["Image"], label, (-250, y))


def _tinted(
    group: bpy.types.NodeTree,
    strength: bpy.types.NodeSocket,
    tint: bpy.types.NodeSocket,
    image: bpy.types.Node,
    label: str,
    y: float,
) -> bpy.types.NodeSocket:
    """1 − strength · tint · (1 − shadow), of each colour, within 0 and 1."""
    factors = _vector(group, "SCALE", tint, None, "Strength × Tint", (-650, y))
    group.links.new(strength, factors.inputs["Scale"])
    mix = _node(group, "ShaderNodeMix", -480, y)
    mix.data_type, mix.factor_mode, mix.clamp_factor, mix.label = "VECTOR", "NON_UNIFORM", False, label
    mix.inputs[4].default_value = (1, 1, 1)
    group.links.new(factors.outputs[0], mix.inputs[1])
    group.links.new(image.outputs["Image"], mix.inputs[5])
    below = _vector(group, "MINIMUM", mix.outputs[1], (1, 1, 1), "At most 1", (-360, y))
    return _vector(group, "MAXIMUM", below.outputs[0], (0, 0, 0), "At least 0", (-250, y)).outputs[0]


def _vector(
    group: bpy.types.NodeTree,
    operation: str,
    a: bpy.types.NodeSocket,
    b: tuple[float, float, float] | None,
    label: str,
    location: tuple[float, float],
) -> bpy.types.Node:
    node = _node(group, "ShaderNodeVectorMath", *location)
    node.operation, node.label = operation, label
    group.links.new(a, node.inputs[0])
    if b is not None:
        node.inputs[1].default_value = b
    return node


def _mix(
    group: bpy.types.NodeTree,
    blend: str,
    factor: float | bpy.types.NodeSocket,
    a: bpy.types.NodeSocket | tuple[float, ...],
    b: bpy.types.NodeSocket | tuple[float, ...],
    label: str,
    location: tuple[float, float],
) -> bpy.types.NodeSocket:
    node = _node(group, "ShaderNodeMix", *location)
    node.data_type, node.blend_type, node.label = "RGBA", blend, label
    for socket, value in zip((node.inputs[0], node.inputs[6], node.inputs[7]), (factor, a, b), strict=True):
        if isinstance(value, bpy.types.NodeSocket):
            group.links.new(value, socket)
        else:
            socket.default_value = value
    return node.outputs[2]


def _node(group: bpy.types.NodeTree, kind: str, x: float, y: float) -> bpy.types.Node:
    node = group.nodes.new(kind)
    node.location = (x, y)
    return node


def _image_node(group: bpy.types.NodeTree, image: bpy.types.Image, span: list[int], row: int) -> bpy.types.Node:
    node = _node(group, "CompositorNodeImage", -800, 200 - 320 * row)
    node.image, node.label = image, image.get(IMAGE, image.name).rpartition("/")[2].capitalize()
    if len(span) > 1:  # file number = frame − start + 1 + offset
        node.frame_start, node.frame_duration, node.frame_offset = span[0], len(span), span[0] - 1
        node.use_auto_refresh = True
    return node


def _plate_node(group: bpy.types.NodeTree, plate: plates.Plate) -> bpy.types.Node:
    node = _node(group, "CompositorNodeImage", -1100, 400)
    node.image, node.label = plate.image, "Plate"
    if plate.is_animated:
        node.frame_start, node.frame_duration, node.frame_offset, node.use_cyclic = plate.frames
        node.use_auto_refresh = True
    return node


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
    node = _node(tree, "CompositorNodeGroup", right - 280, above)  # left of the output, clear of the artist's nodes
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
