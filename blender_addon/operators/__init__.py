# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons."""

import bpy

from . import backend, compare, fixes, harmonize, imports, install, menu, presets, relight, report, reshape, result

_register, _unregister = bpy.utils.register_classes_factory(
    tuple(
        cls
        for module in (
            harmonize,
            result,
            relight,
            compare,
            imports,
            reshape,
            fixes,
            backend,
            install,
            report,
            presets,
            menu,
        )
        for cls in module.CLASSES
    )
)


def register() -> None:
    _register()
    compare.add_key()
    imports.add_menu()
    presets.add_folder()
    menu.add()


def unregister() -> None:
    menu.remove()
    presets.remove_folder()
    imports.remove_menu()
    compare.remove_key()
    _unregister()
