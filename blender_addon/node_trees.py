# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a material or a World depend on, their groups' nodes included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

from . import looks

_LAYOUT_ONLY = {"select", "width", "height", "label", "color", "show_options", "show_preview", "show_texture", "hide"}


def values(tree: bpy.types.NodeTree) -> Iterator[str]:
    """All settings and links: what it looks like changes only where one of these does, or with the frame."""
    for each in _within(tree, set()):
        for node in each.nodes:
            yield f"{node.bl_idname} {node.name} {node.mute}"
            yield from _own_values(node)
            yield from (f"{s.identifier}={_plain(s.default_value)}" for s in node.inputs if hasattr(s, "default_value"))
            if getattr(node, "image", None):
                yield looks.image_stamp(node.image)
            if hasattr(node, "color_ramp"):
                yield from (f"{e.position} {tuple(e.color)}" for e in node.color_ramp.elements)
        for link in each.links:
            yield f"{link.from_node.name}.{link.from_socket.identifier}>{link.to_node.name}.{link.to_socket.identifier}"


def are_animated(tree: bpy.types.NodeTree) -> bool:
    """Whether another frame may look otherwise: a value is animated or driven, or an image is a film."""
    moving = any(image.source in {"SEQUENCE", "MOVIE"} for image in images(tree))
    return moving or any(each.animation_data is not None for each in _within(tree, set()))


def images(tree: bpy.types.NodeTree) -> list[bpy.types.Image]:
    """Those that its nodes read."""
    return [node.image for each in _within(tree, set()) for node in each.nodes if getattr(node, "image", None)]


def _within(tree: bpy.types.NodeTree, seen: set[str]) -> Iterator[bpy.types.NodeTree]:
    """The tree and those of its groups, each once."""
    if tree.name_full in seen:
        return
    seen.add(tree.name_full)
    yield tree
    for node in tree.nodes:
        group = getattr(node, "node_tree", None)
        if group is not None:
            yield from _within(group, seen)


def _own_values(node: bpy.types.Node) -> Iterator[str]:
    for prop in node.bl_rna.properties:
        if prop.type in {"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"} and not prop.is_readonly:
            name = prop.identifier
            if name not in _LAYOUT_ONLY and not name.startswith(("location", "bl_", "warning")):
                yield f"{name}={_plain(getattr(node, name))}"


def _plain(value: Any) -> Any:
    return tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
