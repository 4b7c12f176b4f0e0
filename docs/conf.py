# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx builds the documentation; scripts/build_docs.py does it. Nothing is fetched, then or by a reader."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "Penumbra"
author = copyright = "the Penumbra developers"
release = re.findall(r'(?m)^version = "(.+)"', (ROOT / "blender_manifest.toml").read_text("utf-8"))[0]

extensions = ["myst_parser"]
myst_heading_anchors = 3  # GitHub's anchors; a link to one that is not there fails
highlight_language = "none"

html_theme = "furo"
html_title = f"Penumbra {release}"
html_copy_source = html_show_sourcelink = html_show_sphinx = False
