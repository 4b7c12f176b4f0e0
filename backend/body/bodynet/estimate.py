# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's body by BodyNet, from the proxy of a photograph: its voxels' surface, and the body model fitted to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..lasor.person import Estimate
from ..model import BodyModel
from .evaluate import joints_of
from .fit import Fitter
from .network import BodyNet
from .surface import Surface, extract
from .voxels import from_grid


@torch.inference_mode(False)
def estimate(network: BodyNet, proxy: Tensor, begun: Estimate | None = None) -> tuple[Estimate, Surface]:
    """Of a proxy (1, 18, S, S): the fitted body, and the surface of the voxels in metres about that body's origin.

    begun: of one person, what the fit begins with in place of the 3D joints. Nothing is known of the camera's scale: it
    is the one by which the body is likeliest. The surface has its parts, and the axes of camera space. Raises
    PenumbraError where the network sees no body.
    """
    device, size = network.prior_mean.device, network.config.size
    small = F.interpolate(proxy, (size, size), mode="area") if proxy.shape[-1] > size else proxy
    with torch.inference_mode():
        outputs = network(small.to(device))
    assert outputs.voxels is not None
    probability = outputs.voxels[-1][0].sigmoid().cpu().numpy()
    parts = outputs.part_voxels[-1][0].softmax(0).cpu().numpy() if outputs.part_voxels else None
    surface = extract(probability, parts)
    fitter = Fitter.of(network, BodyModel.load(coarse=True))
    joints = joints_of(outputs)
    if begun is None:
        start = fitter.to_joints(joints)
    else:
        start = fitter.at(*(x[0].clone() for x in (begun.camera, begun.rotations, begun.betas)))
    fit = fitter.to_surface(start, surface, joints, len(probability))
    camera = fit.camera[None]
    corners = torch.from_numpy(surface.vertices)[None]
    vertices = from_grid(corners, camera, len(probability), torch.tensor([fit.middle]))[0].numpy()
    found = Estimate(camera, fit.rotations[None], fit.betas[None])
    return found, Surface(vertices, surface.faces, surface.part, surface.confidence)
