# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons."""

import bpy

from . import backend, harmonize, install, report, result

register, unregister = bpy.utils.register_classes_factory(
    (*harmonize.CLASSES, *result.CLASSES, *backend.CLASSES, *install.CLASSES, *report.CLASSES)
)
