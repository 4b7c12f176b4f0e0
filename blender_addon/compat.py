# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Blender 4.5, 5.0 and 5.2. The only file that reads `bpy.app.version`."""

from __future__ import annotations

import bpy

V5 = bpy.app.version >= (5, 0, 0)

# Render passes of Cycles by the job's names: the view layer's switch, and the pass's name in a multilayer EXR.
PASSES = {
    "combined": ("use_pass_combined", "Combined"),
    "diffuse_color": ("use_pass_diffuse_color", "Diffuse Color" if V5 else "DiffCol"),
    "glossy_color": ("use_pass_glossy_color", "Glossy Color" if V5 else "GlossCol"),
    "emission": ("use_pass_emit", "Emission" if V5 else "Emit"),
    "normal": ("use_pass_normal", "Normal"),
    "depth": ("use_pass_z", "Depth"),
}

# The same of the render of the gloss; its light is without its colour.
GLOSS_PASSES = {
    "gloss_alpha": ("use_pass_combined", "Combined"),
    "gloss_color": ("use_pass_glossy_color", "Glossy Color" if V5 else "GlossCol"),
    "gloss_direct": ("use_pass_glossy_direct", "Glossy Direct" if V5 else "GlossDir"),
    "gloss_indirect": ("use_pass_glossy_indirect", "Glossy Indirect" if V5 else "GlossInd"),
}


def compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    """The compositor tree that renders of `scene` go through, or None."""
    if V5:
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def create_compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """Give a scene without compositor an empty tree that `final_input` can end."""
    if V5:
        scene.compositing_node_group = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
        return scene.compositing_node_group
    had_viewer = "Viewer Node" in bpy.data.images
    scene.use_nodes = True  # makes default nodes, with a viewer and its image
    scene.node_tree.nodes.clear()
    if not had_viewer and "Viewer Node" in bpy.data.images:
        bpy.data.images.remove(bpy.data.images["Viewer Node"])
    return scene.node_tree


def has_dormant_tree(scene: bpy.types.Scene) -> bool:
    """Whether the scene keeps a compositor tree that its artist switched off (4.5 only)."""
    return not V5 and not scene.use_nodes and scene.node_tree is not None and len(scene.node_tree.nodes) > 0


def wake_compositor_tree(scene: bpy.types.Scene) -> None:
    """Switch on the tree of `has_dormant_tree`."""
    if not V5:
        scene.use_nodes = True


def remove_compositor_tree(scene: bpy.types.Scene) -> None:
    """Undo `create_compositor_tree`."""
    if V5:
        tree = scene.compositing_node_group
        scene.compositing_node_group = None
        if tree is not None and tree.users == 0:
            bpy.data.node_groups.remove(tree)
    else:
        scene.node_tree.nodes.clear()
        scene.use_nodes = False


def final_input(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket | None:
    """The socket whose image the render becomes; None where the tree has no output node."""
    kind = "NodeGroupOutput" if V5 else "CompositorNodeComposite"
    nodes = [node for node in tree.nodes if node.bl_idname == kind]
    if not nodes:
        return None
    node = next((n for n in nodes if getattr(n, "is_active_output", False)), nodes[0])
    sockets = [s for s in node.inputs if s.bl_idname == "NodeSocketColor"]
    return sockets[0] if sockets else None


def create_final_input(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """Add the output node that `final_input` did not find."""
    if not V5:
        return tree.nodes.new("CompositorNodeComposite").inputs["Image"]
    if not any(item.item_type == "SOCKET" and item.in_out == "OUTPUT" for item in tree.interface.items_tree):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    outputs = [node for node in tree.nodes if node.bl_idname == "NodeGroupOutput"]
    return (outputs[0] if outputs else tree.nodes.new("NodeGroupOutput")).inputs[0]


def fit_to_frame(tree: bpy.types.NodeTree) -> None:
    """Put a Scale node after every image node: the viewport's compositor shows images pixel by pixel otherwise,
    whatever size the camera's frame has there. In renders, images of the render's size stay as they are."""
    for node in [node for node in tree.nodes if node.bl_idname == "CompositorNodeImage"]:
        for output in [output for output in node.outputs if output.is_linked]:
            targets = [link.to_socket for link in output.links]
            scale = tree.nodes.new("CompositorNodeScale")
            scale.location, scale.hide = (node.location.x + 180, node.location.y - 40), True
            if V5:
                scale.inputs["Type"].default_value, scale.inputs["Frame Type"].default_value = "Render Size", "Stretch"
            else:
                scale.space, scale.frame_method = "RENDER_SIZE", "STRETCH"
            tree.links.new(output, scale.inputs["Image"])
            for target in targets:
                tree.links.new(scale.outputs["Image"], target)


FILTER_FACTOR = "Factor" if V5 else "Fac"


def soften(node: bpy.types.Node) -> bpy.types.Node:
    """Let a Filter node soften; returns it."""
    if V5:
        node.inputs["Type"].default_value = "Soften"
    else:
        node.filter_type = "SOFTEN"
    return node


def premultiply(node: bpy.types.Node) -> None:
    """Let a Set Alpha node multiply the image by the alpha."""
    if V5:
        node.inputs["Type"].default_value = "Apply Mask"
    else:
        node.mode = "APPLY"


def set_exr(settings: bpy.types.ImageFormatSettings, depth: str, *, multilayer: bool = False) -> None:
    """Write OpenEXR: `depth` is "16" or "32" bits a channel; multilayer files keep all passes in one part."""
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE" if multilayer else "IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER" if multilayer else "OPEN_EXR"
    settings.color_mode = "RGBA"
    settings.color_depth = depth
    settings.exr_codec = "ZIP"
    if hasattr(settings, "use_exr_interleave"):
        settings.use_exr_interleave = True


def use_nodes(data: bpy.types.Material | bpy.types.World) -> None:
    """Give a material or world its node tree, which 5.0 and later always have."""
    if not V5:
        data.use_nodes = True


def fcurves(animation: bpy.types.AnimData) -> list[bpy.types.FCurve]:
    """The curves that animate the owner of `animation`: its action's slot and its drivers."""
    from bpy_extras import anim_utils

    curves = list(animation.drivers)
    if animation.action and animation.action_slot:
        bag = anim_utils.action_get_channelbag_for_slot(animation.action, animation.action_slot)
        curves += list(bag.fcurves) if bag else []
    for track in animation.nla_tracks:
        for strip in track.strips:
            if strip.action and strip.action_slot:
                bag = anim_utils.action_get_channelbag_for_slot(strip.action, strip.action_slot)
                curves += list(bag.fcurves) if bag else []
    return curves
