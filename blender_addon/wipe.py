# SPDX-License-Identifier: GPL-3.0-or-later
"""Before and after in one picture: left of a line the character as it was, right of it as it is harmonized.

The line is an input of the character's node, so that viewers and renders show it, and 0 is off.
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy

SOCKET = "Compare"


def limited(
    group: bpy.types.NodeTree, strengths: Iterable[bpy.types.NodeSocket], frame: bpy.types.NodeSocket
) -> list[bpy.types.NodeSocket]:
    """The strengths of a result right of the line, 0 left of it: nothing that is off costs an image more to mix.

    frame: an image of the whole frame. Gives the group the input that says where the line is, as a share of the frame's
    width from the left.
    """
    if SOCKET not in group.interface.items_tree:
        line = group.interface.new_socket(SOCKET, in_out="INPUT", socket_type="NodeSocketFloat")
        line.subtype, line.min_value, line.max_value, line.default_value = "FACTOR", 0.0, 1.0, 0.0
    inputs = _node(group, "NodeGroupInput", 0)
    place = _node(group, "CompositorNodeImageCoordinates", 0)
    axes = _node(group, "ShaderNodeSeparateXYZ", 1)
    right = _node(group, "ShaderNodeMath", 2)
    right.operation, right.label = "GREATER_THAN", "Right of the Line"
    inputs.location.y += 150
    link = group.links.new
    link(frame, place.inputs["Image"])
    link(place.outputs["Normalized"], axes.inputs[0])
    link(axes.outputs["X"], right.inputs[0])
    link(inputs.outputs[SOCKET], right.inputs[1])
    made = []
    for i, strength in enumerate(strengths):
        node = _node(group, "ShaderNodeMath", 3)
        node.operation, node.label, node.location.y = "MULTIPLY", strength.name, node.location.y - 180 * i
        link(strength, node.inputs[0])
        link(right.outputs[0], node.inputs[1])
        made.append(node.outputs[0])
    return made


def _node(group: bpy.types.NodeTree, kind: str, column: int) -> bpy.types.Node:
    node = group.nodes.new(kind)
    node.location = (180 * column - 1200, 900)
    return node


def line(nodes: Iterable[bpy.types.Node]) -> float:
    """Where the line is in the results' nodes; 0 where nothing is compared."""
    return max((node.inputs[SOCKET].default_value for node in nodes if SOCKET in node.inputs), default=0.0)


def set_line(nodes: Iterable[bpy.types.Node], where: float) -> None:
    """Move the line of the results' nodes."""
    for node in nodes:
        if SOCKET in node.inputs:
            node.inputs[SOCKET].default_value = where
