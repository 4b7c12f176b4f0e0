# SPDX-License-Identifier: GPL-3.0-or-later
"""What panels and preferences draw alike: sentences, and a job that runs."""

from __future__ import annotations

import textwrap

import bpy

from . import jobs

PIXELS_PER_LETTER = 7.0


def text(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str) -> None:
    """A sentence in as many labels as the region's width needs."""
    scale = context.preferences.system.ui_scale
    letters = max(16, int((context.region.width / scale - 60) / PIXELS_PER_LETTER))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for i, line in enumerate(textwrap.wrap(sentence, letters)):
        column.label(text=line, icon=icon if i == 0 else "BLANK1")


def progress(layout: bpy.types.UILayout, job: jobs.Job) -> None:
    """What a running job does, how far it is, and the button that ends it."""
    box = layout.column(align=True)
    box.label(text=jobs.stage_text(job))
    box.progress(factor=job.progress.fraction, text=jobs.progress_text(job))
    row = box.row(align=True)
    row.enabled = not job.cancelling
    row.operator("penumbra.cancel", icon="X")
