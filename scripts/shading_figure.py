# SPDX-License-Identifier: GPL-3.0-or-later
"""People in their plates as methods shade them, each with a magnified detail below (RiCS paper, figure 4)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from backend.images import srgb_decode, srgb_encode
from backend.shading.crop import CROP
from backend.shading.dataset import Frame
from backend.shading.evaluate import displayed, picture_of
from backend.shading.methods import Method
from backend.shading.network import crop_map
from scripts.sheet import write_sheet

DETAIL = 32  # pixels a side of what is magnified
MARK = (1.0, 0.15, 0.1)
EMPTY = 0.009  # linear, of a place without picture: the sheet's own grey
WIDTH = 176  # pixels of one picture on the sheet
COVERED = 0.7  # of a detail, at least, is the character, where there is such a detail


def write_figure(path: Path, frames: list[Frame], methods: dict[str, Method], people: int) -> None:
    """Write a PNG: two rows a person, whole and detail; columns are the plate, the methods and the truth."""
    pictures: list[tuple[str, np.ndarray]] = []
    chosen = _people(frames, people)
    for frame in chosen:
        true = displayed(frame.shading[0].astype(np.float32), frame.albedo.astype(np.float32))
        plate = frame.plates[0].astype(np.float32) / 255
        columns = {
            "plate": plate,
            **{name: _pasted(frame, picture_of(method(frame, 0), frame)) for name, method in methods.items()},
            "path-traced": _pasted(frame, true),
        }
        left, top = _place(frame, true)
        for name, picture in columns.items():
            marked = picture.copy()
            if name != "plate":
                cv2.rectangle(marked, (left, top), (left + DETAIL - 1, top + DETAIL - 1), MARK)
            pictures.append((_short(name), srgb_decode(marked)))
        for name, picture in columns.items():
            cut = picture[top : top + DETAIL, left : left + DETAIL]
            enlarged = cv2.resize(cut, (CROP, CROP), interpolation=cv2.INTER_CUBIC).clip(0, 1)
            pictures.append(("", np.full_like(picture, EMPTY) if name == "plate" else srgb_decode(enlarged)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sheet(path, pictures, len(methods) + 2, WIDTH)


def _people(frames: list[Frame], people: int) -> list[Frame]:
    """Frames of different people as far as there are such, evenly spread."""
    first = {frame.identity: frame for frame in frames if len(frame.pixels)}
    others = [frame for frame in frames if len(frame.pixels) and frame is not first[frame.identity]]
    return [*first.values(), *others[:: max(1, len(others) // people)]][:people]


def _pasted(frame: Frame, colours: np.ndarray) -> np.ndarray:
    """(128, 128, 3) display-encoded: the character of colours (P, 3) in the crop's part of the plate."""
    plate = torch.from_numpy(frame.plates[0].astype(np.float32) / 255).permute(2, 0, 1)[None]
    behind = crop_map(plate, torch.from_numpy(frame.box)[None])[0].permute(1, 2, 0).numpy()
    alpha = frame.image(frame.alpha.astype(np.float32) / 255)[..., None]
    mixed = alpha * srgb_decode(frame.image(colours.astype(np.float32))) + (1 - alpha) * srgb_decode(behind)
    return srgb_encode(mixed).astype(np.float32)


def _place(frame: Frame, true: np.ndarray) -> tuple[int, int]:
    """Left and top of the detail in which the true shading varies most, on the character."""
    grey = frame.image(true.mean(1).astype(np.float32))
    alpha = frame.image(frame.alpha.astype(np.float32) / 255)
    sums = [cv2.boxFilter(v * alpha, -1, (DETAIL, DETAIL), anchor=(0, 0)) for v in (np.ones_like(grey), grey, grey**2)]
    covered = np.maximum(sums[0], 1e-6)
    variance = sums[2] / covered - (sums[1] / covered) ** 2
    enough = min(COVERED, float(sums[0].max()))
    score = np.where(sums[0] >= enough, variance, -1)[: CROP - DETAIL, : CROP - DETAIL]
    top, left = np.unravel_index(int(score.argmax()), score.shape)
    return int(left), int(top)


def _short(name: str) -> str:
    """A title that fits over a picture: what is in brackets says most."""
    inner = name.partition("(")[2].rstrip(")")
    words = inner or name.replace("ShadingNet without", "no").replace(
        "nine spherical harmonics of the plate", "nine SH"
    )
    return words.replace(", as long as its ablations", ", brief").replace("the probe with the true light", "true light")
