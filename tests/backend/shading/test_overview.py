# SPDX-License-Identifier: GPL-3.0-or-later
"""What f counts in the whole plate, and what the bundled f makes of plates of places that it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch

from backend.images import srgb_encode
from backend.shading import overview, plates
from backend.shading.light_code import facing_shading, light_code
from backend.shading.moments import Sources
from backend.shading.network import ShadingNet
from backend.shading.plate_data import PlateData
from backend.weights import load_model

SHAPE = (overview.SCALES, 2, overview.PARTS, overview.PARTS, len(overview.STRENGTHS), overview.WAYS)
RIGHT, UP, LEFT = 0, 2, 4  # ways


def slopes(plate: torch.Tensor) -> torch.Tensor:
    """(scales, channels, rows, columns, strengths, ways)"""
    return overview.features(plate)[0, : int(np.prod(SHAPE))].view(SHAPE)


def test_a_plate_that_brightens_to_the_right_slopes_that_way_in_all_its_parts() -> None:
    rising = 0.02 * np.exp(0.03 * np.arange(128, dtype=np.float32))
    plate = torch.from_numpy(srgb_encode(np.broadcast_to(rising, (1, 3, 128, 128))).astype(np.float32))
    counted = slopes(plate)
    way = counted[0, 0].mean((0, 1, 2)).argmax()
    assert way == RIGHT
    assert bool((counted[0, 0, ..., RIGHT].amax(-1) > counted[0, 0, ..., LEFT].amax(-1)).all())
    assert slopes(plate.mT.flip(-2))[0, 0].mean((0, 1, 2)).argmax() == UP


def test_a_mirrored_plate_gives_the_mirrored_counts() -> None:
    torch.manual_seed(0)
    plate = torch.nn.functional.interpolate(torch.rand(1, 3, 20, 20), size=128, mode="bicubic").clamp(0, 1)
    torch.testing.assert_close(
        overview.features(plate.flip(-1)), overview.mirrored(overview.features(plate)), atol=1e-3, rtol=0
    )


def test_lessons_are_of_the_plates_and_of_their_mirror_images(tmp_path: Path) -> None:
    made = plates.shard(Sources("test", [], []), 12, 0, 3)
    np.savez(tmp_path / "shard_00000.npz", **made)
    data = PlateData([tmp_path])
    lesson = data.draw(np.random.default_rng(0), 40)
    true = torch.from_numpy(facing_shading(made["radiance"], made["suns"])).float()
    assert (data.all.facing / true - 1).abs().max() < 0.9, "exposed anew, by less than a stop"
    everything = data.all.to(torch.device("cpu"))
    known = [everything, everything.mirrored()]
    seen = set()
    for number in range(40):
        one = [t[number] for t in lesson]
        for turned, part in enumerate(known):
            seen |= {(k, turned) for k in range(3) if all(map(torch.equal, one, (t[k] for t in part)))}
    assert len(seen) == 6


def test_cells_and_sun_of_a_lesson_give_its_shading_facing_each_way(tmp_path: Path) -> None:
    made = plates.shard(Sources("test", [], []), 13, 0, 24)
    np.savez(tmp_path / "shard_00000.npz", **made)
    for lesson in (whole := PlateData([tmp_path]).all, whole.mirrored()):
        suns = np.zeros((24, 2, 7))
        suns[:, 0, :6] = lesson.sun
        lit = facing_shading(lesson.cells.numpy(), suns)
        # A second sun lies in cells, which blurs it.
        np.testing.assert_allclose(lit, lesson.facing, atol=0.06 * float(lesson.facing.max()))
        assert np.abs(lit - lesson.facing.numpy()).mean() < 0.01 * float(lesson.facing.mean())


def test_the_bundled_f_tells_the_side_of_the_light_in_unseen_places() -> None:
    made = plates.shard(Sources("test", [], []), 11, 0, 144)
    true = light_code(torch.from_numpy(facing_shading(made["radiance"], made["suns"])).float())
    net = cast(ShadingNet, load_model("shadingnet")[0])
    with torch.no_grad():
        told = net.encoder(torch.from_numpy(made["plate"]).permute(0, 3, 1, 2) / 255).mean((2, 3))
    for way, better in ((0, 0.62), (1, 0.7)):  # +x against −x; +y against −y
        truth, answer = (torch.logit(code[:, way]) - torch.logit(code[:, way + 3]) for code in (true, told))
        clear = truth.abs() > truth.abs().median()
        assert (truth[clear].sign() == answer[clear].sign()).float().mean() > better
