# SPDX-License-Identifier: GPL-3.0-or-later
"""The plate's grain and blur on the character of a result: two inputs of its node, 0 is off and 1 is as measured."""

from __future__ import annotations

import math

import bpy

from . import compat

SOCKETS = ("Grain", "Blur")
SOFTENED = 0.5  # square pixels, the variance of Blender's Soften
MOST = 12  # of them, one after the other


def add_sockets(group: bpy.types.NodeTree) -> None:
    """Give a result's group the inputs, where an earlier version has made it without."""
    for name in SOCKETS:
        if name not in group.interface.items_tree:
            socket = group.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketFloat")
            socket.subtype, socket.min_value, socket.max_value, socket.default_value = "FACTOR", 0.0, 1.0, 0.0


def as_photographed(
    group: bpy.types.NodeTree,
    figure: bpy.types.NodeSocket,
    colour: bpy.types.NodeSocket,
    alpha: bpy.types.NodeSocket,
    below: bpy.types.NodeSocket,
    strengths: tuple[bpy.types.NodeSocket, bpy.types.NodeSocket],
    grain: bpy.types.NodeSocket | None,
    blur: float,
) -> bpy.types.NodeSocket:
    """`figure` itself where both strengths are 0, else it made of its parts anew, blurred and with grain.

    figure: colour by alpha over below. strengths: of grain and blur. grain: an image of what is added, 0 outside the
    character. blur: standard deviation in pixels at strength 1.
    """
    passes = min(math.ceil(blur**2 / SOFTENED - 1e-6), MOST)
    if grain is None and not passes:
        return figure
    link = group.links.new
    cut = _node(group, "CompositorNodeSetAlpha", 0)
    compat.premultiply(cut)
    link(colour, cut.inputs["Image"])
    link(alpha, cut.inputs["Alpha"])
    image = cut.outputs["Image"]
    factor = _math(group, "MULTIPLY", strengths[1], min(blur**2 / (SOFTENED * max(passes, 1)), 1.0), 1)
    for i in range(passes):  # each adds its share of the variance
        soften = compat.soften(_node(group, "CompositorNodeFilter", 2 + i))
        link(image, soften.inputs["Image"])
        link(factor, soften.inputs[compat.FILTER_FACTOR])
        image = soften.outputs["Image"]
    column = 2 + passes
    apart = _node(group, "CompositorNodeSeparateColor", column)
    link(image, apart.inputs[0])
    through = _math(group, "SUBTRACT", 1.0, apart.outputs["Alpha"], column)
    made = _mix(group, "ADD", 1.0, _mix(group, "MULTIPLY", 1.0, below, through, column + 1), image, column + 2)
    if grain is not None:
        made = _mix(group, "ADD", strengths[0], made, grain, column + 3)
    wanted = _math(group, "GREATER_THAN", _math(group, "ADD", *strengths, column), 0.0, column + 1)
    return _mix(group, "MIX", wanted, figure, made, column + 4)


Value = float | bpy.types.NodeSocket


def _math(group: bpy.types.NodeTree, operation: str, a: Value, b: Value, column: int) -> bpy.types.NodeSocket:
    node = _node(group, "ShaderNodeMath", column)
    node.operation, node.location.y = operation, -550
    _fill(group, node.inputs[:2], (a, b))
    return node.outputs[0]


def _mix(group: bpy.types.NodeTree, blend: str, factor: Value, a: Value, b: Value, column: int) -> bpy.types.NodeSocket:
    node = _node(group, "ShaderNodeMix", column)
    node.data_type, node.blend_type = "RGBA", blend
    _fill(group, (node.inputs[0], node.inputs[6], node.inputs[7]), (factor, a, b))
    return node.outputs[2]


def _fill(group: bpy.types.NodeTree, sockets: tuple[bpy.types.NodeSocket, ...], values: tuple[Value, ...]) -> None:
    for socket, value in zip(sockets, values, strict=True):
        if isinstance(value, bpy.types.NodeSocket):
            group.links.new(value, socket)
        else:
            socket.default_value = value


def _node(group: bpy.types.NodeTree, kind: str, column: int) -> bpy.types.Node:
    node = group.nodes.new(kind)
    node.location, node.label = (250 + 170 * column, -400), "Grain and Blur"
    return node
