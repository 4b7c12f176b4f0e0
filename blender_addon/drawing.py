# SPDX-License-Identifier: GPL-3.0-or-later
"""What panels and preferences draw alike: sentences, and a job that runs."""

from __future__ import annotations

import textwrap

import bpy

from . import jobs, pictures, translations

PIXELS_PER_LETTER = 7.0
PREVIEW = 8  # heights of a button that the picture of a running job has


def text(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str) -> None:
    """A sentence in as many labels as the region's width needs."""
    scale = context.preferences.system.ui_scale
    letters = max(16, int((context.region.width / scale - 60) / PIXELS_PER_LETTER))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for i, line in enumerate(textwrap.wrap(translations.label(sentence), letters)):
        column.label(text=line, icon=icon if i == 0 else "BLANK1", translate=False)


def progress(layout: bpy.types.UILayout, job: jobs.Job) -> None:
    """What a running job does, how far it is, and the button that ends it."""
    picture = pictures.of_file(job.progress.preview) if job.progress.preview else None
    if picture is not None:
        layout.template_icon(picture, scale=PREVIEW)
    box = layout.column(align=True)
    box.label(text=jobs.stage_text(job), translate=False)
    box.progress(factor=job.progress.fraction, text=jobs.progress_text(job), translate=False)
    row = box.row(align=True)
    row.enabled = not job.cancelling
    row.operator("penumbra.cancel", icon="X")
