# SPDX-License-Identifier: GPL-3.0-or-later
"""Training data made on the fly: proxies of posed bodies, with occlusions and a detector's faults (LASOR, section III).

Everything runs in batches on the device of the body model. What the paper leaves open is STRAPS' (Sengupta et al.
2020), whose augmentation the paper builds on; what neither has is said where it is set.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import BodyModel
from ..rotations import rotation_matrices
from .camera import Lens, from_pixels, perspective
from .proxy import MARGIN, SIZE, box_of, crop, heatmaps, into_crop
from .raster import coverage, face_buffer

TARGET = 128  # side of the silhouettes that the loss compares

# SMPL's joints in STRAPS' classes, and how often each class is missing from a silhouette.
CLASSES = (
    ((16, 18, 20, 22), 0.1),  # left arm
    ((17, 19, 21, 23), 0.1),  # right arm
    ((12, 15), 0.1),  # head
    ((1, 4, 7, 10), 0.1),  # left leg
    ((2, 5, 8, 11), 0.05),  # right leg
    ((0, 3, 6, 9, 13, 14), 0.05),  # torso
)


@dataclass(frozen=True)
class Synthesis:
    """How data are drawn. Lengths in metres where bodies are meant, in pixels of 256 where proxies are.

    view: σ of equation 1 for pitch, yaw and roll, times π. tumbled: share seen from anywhere at all (ours).
    spread: of the shapes, over the standard deviation of adults and children. children: their share (ours).
    distance: of the camera, least and most; drawn with its logarithm even. STRAPS' is 42 throughout.
    occluded: share with another person before (equation 2). shift: of that person, to the side and towards the camera.
    visible: least share of the silhouette that the other person may leave.
    truncated: share that the picture's edge cuts (ours). swollen: most pixels that clothes add (ours).
    missing: scales the rate of missing parts. box, box_side: occluding squares. wobble: of the rendered vertices.
    joint_noise: even within ± this. joint_loss: share of keypoints that the detector misses.
    graded: people have shares of wobble and joint_noise, as some are seen better than others (ours, to learn from).
    zoom, centre: the crop's margin varies by ±, its centre by ±.
    """

    view: tuple[float, float, float] = (0.08, 1.0, 0.06)
    tumbled: float = 0.05
    spread: float = 1.25
    children: float = 0.2
    distance: tuple[float, float] = (3.0, 42.0)
    occluded: float = 1.0
    shift: tuple[float, float] = (0.7, 0.6)
    visible: float = 0.3
    truncated: float = 0.2
    swollen: int = 3
    missing: float = 1.0
    box: float = 0.5
    box_side: int = 48
    wobble: float = 0.01
    joint_noise: float = 8.0
    graded: bool = False
    joint_loss: float = 0.1
    zoom: float = 0.2
    centre: float = 5.0

    def clear(self) -> Synthesis:
        """The same people, unoccluded and exactly seen."""
        faults = {"occluded", "truncated", "missing", "box", "wobble", "joint_noise", "joint_loss", "zoom", "centre"}
        return dataclasses.replace(self, swollen=0, **dict.fromkeys(faults, 0.0))

    def unoccluded(self) -> Synthesis:
        """The same with a detector's faults, but nothing before the person."""
        return dataclasses.replace(self, occluded=0.0, truncated=0.0, missing=0.0, box=0.0)


LEARNT = Synthesis(graded=True, occluded=0.6, missing=0.6, box=0.3)  # some people are seen well in life
PAPER = Synthesis(tumbled=0.0, spread=1.5, children=0.0, distance=(42.0, 42.0), truncated=0.0, swollen=0)


@dataclass(frozen=True)
class Batch:
    """proxy (B, 18, S, S); betas (B, 10); rotations (B, 24, 3, 3), the first towards the camera; vertices (B, C, 3) of
    the coarse body and joints (B, 14, 3), metres, the body's origin at zero; keypoints (B, 17, 2) normalised, exact;
    seen (B, 17) 1 or 0; silhouette (B, 128, 128): the whole person's, with nothing before it. lens: that they are seen
    through, which no network is told.
    """

    proxy: Tensor
    betas: Tensor
    rotations: Tensor
    vertices: Tensor
    joints: Tensor
    keypoints: Tensor
    seen: Tensor
    silhouette: Tensor
    lens: Lens


class Synthesizer:
    """Draws batches from poses (N, 24, 3) axis-angle on the device of `body`, a coarse body model."""

    def __init__(self, body: BodyModel, poses: np.ndarray) -> None:
        self.body = body
        self.device = body.v_template.device
        self.poses = torch.from_numpy(poses).to(self.device)
        ranges = [body.body.shape_range(children) for children in (False, True)]
        self.mean, self.deviation = (torch.from_numpy(np.stack([r[k] for r in ranges])).to(self.device) for k in (0, 1))
        table = torch.zeros(24, dtype=torch.long)
        for number, (joints, _) in enumerate(CLASSES):
            table[list(joints)] = number
        self.classes = table.to(self.device)[body.weights[body.faces].sum(1).argmax(1)]
        self.rates = torch.tensor([rate for _, rate in CLASSES], device=self.device)

    @torch.no_grad()
    def batch(self, count: int, plan: Synthesis, random: torch.Generator, size: int = SIZE) -> Batch:
        """`count` people, with proxies of `size` pixels a side: small ones for quick first lessons.

        random: a generator on the same device; its state alone decides what is drawn.
        """
        rotations, betas = self.people(2 * count, plan, random)
        vertices, joints = self.body(betas, rotations)
        keypoints = self.body.keypoints(vertices, joints)
        place, focal = self.placed(count, plan, random, size)
        parts, other, pixels = self._picture(vertices, keypoints, place, focal, plan, random, size)
        whole = parts >= 0
        cut = whole & ~other  # equation 2: S = S1 − S1 · S2
        seen = self._inside(pixels, ~other)
        edge = self._frame(cut, plan, random)
        cut, seen = cut & edge, seen & self._inside(pixels, edge)

        centre, side = box_of(cut)
        side = side * (MARGIN + plan.zoom * self._even(random, count)).clamp(min=1)
        centre = centre + plan.centre * self._even(random, count, 2) * (side / SIZE)[:, None]  # pixels of the picture
        layers = torch.stack([whole.float(), cut.float(), parts.float()], 1)
        whole, cut, parts = crop(layers, centre, side, size).unbind(1)
        pixels, lens = into_crop(pixels, centre, side, size), Lens.of(centre, side, (size, size), focal)
        seen = seen & ((pixels > 0) & (pixels < size)).all(2)
        proxy = self._detected(cut > 0.5, parts.round().long(), pixels, seen, plan, random)
        return Batch(
            proxy,
            betas[:count],
            rotations[:count],
            vertices[:count],
            self.body.keypoints(vertices, joints, "lsp14")[:count],
            from_pixels(pixels, size),
            seen.float(),
            F.interpolate(whole[:, None], (TARGET, TARGET), mode="area")[:, 0],
            lens,
        )

    def people(self, count: int, plan: Synthesis, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rotations (N, 24, 3, 3) after equation 1, and betas (N, 10)."""
        pose = self.poses[torch.randint(len(self.poses), (count,), generator=random, device=self.device)]
        rotations = rotation_matrices(pose)
        # Equation 1 adds to the three numbers of the orientation. Sums of axis-angles are no rotations about the
        # camera's axes, so the drawn numbers turn the body: first about the vertical, then by pitch and roll.
        turn = torch.pi * torch.tensor(plan.view, device=self.device) * self._normal(random, count, 3)
        turn[self._chance(random, plan.tumbled, count)] *= torch.tensor([1 / max(plan.view[0], 1e-6), 1, 1]).to(turn)
        yaw = turn * torch.tensor([0.0, 1, 0], device=self.device)
        rotations[:, 0] = rotation_matrices(turn - yaw) @ rotation_matrices(yaw) @ rotations[:, 0]
        young = self._chance(random, plan.children, count).long()
        betas = self.mean[young] + plan.spread * self.deviation[young] * self._normal(random, count, 10)
        return rotations, betas

    def _picture(
        self,
        vertices: Tensor,
        keypoints: Tensor,
        place: Tensor,
        focal: Tensor,
        plan: Synthesis,
        random: torch.Generator,
        size: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Parts (B, S, S), −1 outside; the other person's mask (B, S, S); keypoints (B, 17, 2) pixels."""
        count = len(place)
        aside = self._even(random, count)
        step = torch.stack(
            [aside.sign() * (0.1 + aside.abs() * (plan.shift[0] - 0.1)), 0.1 * self._even(random, count)], 1
        )
        nearer = 0.2 + (plan.shift[1] - 0.2) * torch.rand(count, generator=random, device=self.device)
        beside = place + torch.cat([step, nearer[:, None]], 1)

        noise = plan.wobble * self._share(plan, random, len(vertices)) * self._even(random, *vertices.shape[:2], 2)
        vertices = vertices + F.pad(noise, (0, 1))
        points, depth = perspective(vertices[:count] + place[:, None], focal, size)
        face = face_buffer(points, depth, self.body.faces, size)
        parts = torch.where(face >= 0, self.classes[face.clamp(min=0)], -1)
        before, _ = perspective(vertices[count:] + beside[:, None], focal, size)
        other = coverage(before, self.body.faces, size)
        left = (parts >= 0) & ~other
        enough = left.sum((1, 2)) > plan.visible * (parts >= 0).sum((1, 2))
        other &= (enough & self._chance(random, plan.occluded, count))[:, None, None]
        return parts, other, perspective(keypoints[:count] + place[:, None], focal, size)[0]

    def placed(self, count: int, plan: Synthesis, random: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        """Where people stand in camera space (B, 3), metres, and focal lengths (B,) in pixels of a `size` picture."""
        nearest, farthest = np.log(plan.distance[0]), np.log(plan.distance[1])
        away = torch.exp(nearest + (farthest - nearest) * torch.rand(count, generator=random, device=self.device))
        focal = size / SIZE * 5000 / 42 * away  # a body of 1.7 m is 200 pixels of 256 tall at any distance
        place = torch.stack([0 * away, 0.13 + 0 * away, -away], 1)
        place[:, :2] += 0.05 * self._normal(random, count, 2)
        return place, focal

    def _frame(self, mask: Tensor, plan: Synthesis, random: torch.Generator) -> Tensor:
        """(B, S, S) False beyond the edge of a picture that cuts the person: the legs mostly."""
        count = len(mask)
        kept = 0.4 + 0.5 * torch.rand(count, generator=random, device=self.device)
        which = torch.multinomial(
            torch.tensor([0.6, 0.1, 0.15, 0.15], device=self.device), count, replacement=True, generator=random
        )
        centre, side = box_of(mask)
        number = torch.arange(mask.shape[1], device=self.device) + 0.5
        share = (number - (centre - side[:, None] / 2)[:, :, None]) / side[:, None, None]  # (B, 2, S): x and y
        across, down = share[:, 0, None, :].expand_as(mask), share[:, 1, :, None].expand_as(mask)
        directions = torch.stack([down, 1 - down, across, 1 - across])
        inside = directions[which, torch.arange(count, device=self.device)] < kept[:, None, None]
        return inside | ~self._chance(random, plan.truncated, count)[:, None, None]

    def _detected(
        self, mask: Tensor, parts: Tensor, pixels: Tensor, seen: Tensor, plan: Synthesis, random: torch.Generator
    ) -> Tensor:
        """(B, 18, S, S) the proxy with what detectors miss and misplace."""
        count, size = len(mask), mask.shape[1]
        scale = size / SIZE
        lost = torch.rand(count, len(CLASSES), generator=random, device=self.device) < plan.missing * self.rates
        mask = mask & ~(lost.gather(1, parts.clamp(min=0).flatten(1)).view_as(mask) & (parts >= 0))
        if swollen := round(plan.swollen * scale):
            mask = self._swell(mask, swollen, random)
        middle = size / 2 + 0.15 * size * self._even(random, count, 2)  # in the middle 30 %
        number = torch.arange(size, device=self.device) + 0.5
        near = (number - middle[..., None]).abs() < scale * plan.box_side / 2
        box = near[:, 1, :, None] & near[:, 0, None, :] & self._chance(random, plan.box, count)[:, None, None]
        found = seen & ~self._chance(random, plan.joint_loss, *seen.shape)
        noise = plan.joint_noise * self._share(plan, random, count)
        moved = pixels + scale * noise * self._even(random, *pixels.shape)
        return torch.cat([(mask & ~box)[:, None].float(), heatmaps(moved, found.float(), size)], 1)

    def _swell(self, mask: Tensor, most: int, random: torch.Generator) -> Tensor:
        """Masks grown by 0 to `most` pixels each, as clothes and hair make people larger than their bodies."""
        by = torch.randint(most + 1, (len(mask),), generator=random, device=self.device)
        grown, result = mask[:, None].float(), mask.clone()
        for step in range(1, most + 1):
            grown = F.max_pool2d(grown, 3, 1, 1)
            result |= (grown[:, 0] > 0) & (by >= step)[:, None, None]
        return result

    def _inside(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """(B, N) whether points (B, N, 2) lie in the picture, where mask (B, S, S) holds."""
        place, size = pixels.floor().long(), mask.shape[1]
        inside = ((place >= 0) & (place < size)).all(2)
        place = place.clamp(0, size - 1)
        return inside & mask.flatten(1).gather(1, place[..., 1] * size + place[..., 0])

    def _share(self, plan: Synthesis, random: torch.Generator, count: int) -> Tensor:
        """(B, 1, 1) of a detector's faults, which each person is seen with."""
        if not plan.graded:
            return torch.ones(count, 1, 1, device=self.device)
        return torch.rand(count, 1, 1, generator=random, device=self.device)

    def _even(self, random: torch.Generator, *shape: int) -> Tensor:
        """Even between −1 and 1."""
        return 2 * torch.rand(*shape, generator=random, device=self.device) - 1

    def _normal(self, random: torch.Generator, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, device=self.device)

    def _chance(self, random: torch.Generator, rate: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=random, device=self.device) < rate
