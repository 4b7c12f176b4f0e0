# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures side by side in one, each under its title."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend.images import srgb_encode

TITLE, GAP = 36, 8  # pixels: height of a title, space between pictures


def write_sheet(path: Path, pictures: Sequence[tuple[str, np.ndarray]], columns: int, width: int) -> None:
    """Write a PNG of titled pictures, row by row; all have the shape of the first.

    pictures: titles, and (H, W) or (H, W, 3) scene-linear images, shown as a display does.
    width: pixels of one picture on the sheet.
    """
    first = pictures[0][1]
    height = round(first.shape[0] * width / first.shape[1])
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + TITLE + GAP) + GAP), (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(22 if width > 400 else 15)
    for k, (title, picture) in enumerate(pictures):
        x, y = GAP + k % columns * (width + GAP), GAP + k // columns * (height + TITLE + GAP)
        draw.text((x + 4, y + 4), title, font=font, fill=(230, 230, 230))
        display = np.round(np.clip(srgb_encode(picture), 0, 1) * 255).astype(np.uint8)
        shown = Image.fromarray(display).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(shown, (x, y + TITLE))
    sheet.save(path)
