# SPDX-License-Identifier: GPL-3.0-or-later
"""The node group of a result: plate × shadow, over it albedo × shading + gloss, and its inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import bpy
import numpy as np

from . import compat, grain, wipe
from . import plate as plates

# Custom properties by which our datablocks are found, whatever the artist calls them.
CHARACTER = "penumbra_character"  # on the group: the name of its character, or of its cast
MEMBERS = "penumbra_members"  # on the group: the names of its characters, as JSON
CREATED_TREE = "penumbra_created_tree"  # on the group: the compositor was empty before
RECORDS = "penumbra_records"  # on the group: what its frames were made of and the light found, as JSON
IMAGE = "penumbra_image"  # on an image: "character/role"

WHITE = (1.0, 1.0, 1.0, 1.0)
GLOSS = "Gloss"  # input and output of a result that has it


def strength_sockets(names: Sequence[str]) -> list[tuple[str, str]]:
    """For each of a result's characters the names of its node's inputs for shading and shadow."""
    return [(f"{prefix}Shading Strength", f"{prefix}Shadow Strength") for prefix in _prefixes(names)]


def tint_sockets(names: Sequence[str]) -> list[str]:
    """For each of a result's characters the name of its node's input for the colour of the light that it takes."""
    return [f"{prefix}Shadow Tint" for prefix in _prefixes(names)]


def _prefixes(names: Sequence[str]) -> list[str]:
    return ["" if len(names) == 1 else f"{name} " for name in names]


def new_group(character: str, names: Sequence[str], created: bool) -> bpy.types.NodeTree:
    group = bpy.data.node_groups.new("Penumbra", "CompositorNodeTree")
    group[CHARACTER], group[MEMBERS] = character, json.dumps(names)
    group[CREATED_TREE] = created
    new = group.interface.new_socket
    new("Plate", in_out="INPUT", socket_type="NodeSocketColor").default_value = (0, 0, 0, 0)
    for (shading, shadow), tint in zip(strength_sockets(names), tint_sockets(names), strict=True):
        _new_factor(group, shading, 1.0)
        _new_factor(group, shadow, 1.0)
        new_tint(group, tint)
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


def new_tint(group: bpy.types.NodeTree, name: str) -> None:
    group.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketColor").default_value = WHITE


def build(
    group: bpy.types.NodeTree, images: dict[str, bpy.types.Image], span: list[int], plate: plates.Plate | None
) -> None:
    """Make the group's nodes: plate × shadows, over it albedo × shading + gloss. Strength 0 makes a factor of 1."""
    group.nodes.clear()
    tints = tint_sockets(json.loads(group[MEMBERS]))
    link = group.links.new
    grain.add_sockets(group)
    _set_gloss_sockets(group, "gloss" in images)
    inputs, output = new_node(group, "NodeGroupInput", -800, 400), new_node(group, "NodeGroupOutput", 800, 200)
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
    node = new_node(group, "ShaderNodeMath", -500, y)
    node.operation, node.label = "MULTIPLY_ADD", "Strength by Matte"
    group.links.new(matte.outputs["Image"], node.inputs[0])
    group.links.new(strength, node.inputs[1])
    node.inputs[2].default_value = 0.0
    if others is not None:
        group.links.new(others, node.inputs[2])
    return node.outputs[0]


def _over(group: bpy.types.NodeTree, below: bpy.types.NodeSocket, above: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """A premultiplied image over an opaque one. An Alpha Over node would lose its links on the way from 5.2 to 4.5."""
    alpha = new_node(group, "CompositorNodeSeparateColor", -650, 600)
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
    mix = new_node(group, "ShaderNodeMix", -480, y)
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
    node = new_node(group, "ShaderNodeVectorMath", *location)
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
    node = new_node(group, "ShaderNodeMix", *location)
    node.data_type, node.blend_type, node.label = "RGBA", blend, label
    for socket, value in zip((node.inputs[0], node.inputs[6], node.inputs[7]), (factor, a, b), strict=True):
        if isinstance(value, bpy.types.NodeSocket):
            group.links.new(value, socket)
        else:
            socket.default_value = value
    return node.outputs[2]


def new_node(group: bpy.types.NodeTree, kind: str, x: float, y: float) -> bpy.types.Node:
    node = group.nodes.new(kind)
    node.location = (x, y)
    return node


def _image_node(group: bpy.types.NodeTree, image: bpy.types.Image, span: list[int], row: int) -> bpy.types.Node:
    node = new_node(group, "CompositorNodeImage", -800, 200 - 320 * row)
    node.image, node.label = image, image.get(IMAGE, image.name).rpartition("/")[2].capitalize()
    if len(span) > 1:  # file number = frame − start + 1 + offset
        node.frame_start, node.frame_duration, node.frame_offset = span[0], len(span), span[0] - 1
        node.use_auto_refresh = True
    return node


def _plate_node(group: bpy.types.NodeTree, plate: plates.Plate) -> bpy.types.Node:
    node = new_node(group, "CompositorNodeImage", -1100, 400)
    node.image, node.label = plate.image, "Plate"
    if plate.is_animated:
        node.frame_start, node.frame_duration, node.frame_offset, node.use_cyclic = plate.frames
        node.use_auto_refresh = True
    return node
