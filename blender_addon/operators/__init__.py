# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons."""

import bpy

from . import backend, body, compare, fixes, harmonize, install, relight, report, result

_register, _unregister = bpy.utils.register_classes_factory(
    tuple(
        cls
        for module in (harmonize, result, relight, compare, body, fixes, backend, install, report)
        for cls in module.CLASSES
    )
)


def register() -> None:
    _register()
    compare.add_key()
    body.add_menu()


def unregister() -> None:
    body.remove_menu()
    compare.remove_key()
    _unregister()
