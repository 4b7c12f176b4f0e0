# SPDX-License-Identifier: GPL-3.0-or-later
"""Report Problem."""

from __future__ import annotations

import bpy

from .. import report, translations


class PENUMBRA_OT_report_problem(bpy.types.Operator):  # noqa: N801
    """Write a text with versions, device, logs and facts of the scene, without names and folders, and show it"""

    bl_idname = "penumbra.report_problem"
    bl_label = "Report Problem"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        path = report.write()
        if not bpy.app.background:
            bpy.ops.wm.path_open(filepath=str(path.parent))
        self.report({"INFO"}, translations.report("Written: {0}").format(path))
        return {"FINISHED"}


CLASSES = (PENUMBRA_OT_report_problem,)
