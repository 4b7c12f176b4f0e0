# SPDX-License-Identifier: GPL-3.0-or-later
"""A text about a problem for those who can mend it: versions, device, logs and facts of the scene, nothing personal."""

from __future__ import annotations

import getpass
import os
import platform
import re
import tempfile
from collections import Counter
from pathlib import Path

import bpy

from ..backend.protocol import PenumbraError
from . import backend_process, jobs, preferences
from .character import everybody

TAIL_LINES = 120
ROOT = Path(__file__).resolve().parent.parent


def write() -> Path:
    """Write the report into the user's folder and return its path."""
    path = preferences.user_folder("reports") / "penumbra-report.txt"
    path.write_text(without_personal_data(compose()), "utf-8")
    return path


def compose() -> str:
    """All parts of the report, still with paths and names."""
    parts = {
        "Versions": _versions(),
        "Backend": [text for text, _ in preferences.backend_status()] + _installation(),
        "Last job": _last_job(),
        "Scene": scene_facts(bpy.context.scene, bpy.context.view_layer),
    }
    for name in preferences.LOGS:
        log = preferences.log_file(name)
        parts[f"Log: {name}"] = log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:] if log.is_file() else []
    return "\n\n".join(f"== {title}\n" + ("\n".join(lines) or "nothing") for title, lines in parts.items()) + "\n"


def without_personal_data(text: str) -> str:
    """Names of folders and of the user are taken out, the ends of paths stay."""
    file = bpy.data.filepath
    places = [
        (str(ROOT), "<extension>"),
        (str(Path(file).parent) if file else "", "<project>"),
        (tempfile.gettempdir(), "<temporary>"),
        (bpy.app.tempdir.rstrip("/\\"), "<temporary>"),
        (str(Path.home()), "<home>"),
    ]
    for place, name in sorted(places, key=lambda pair: -len(pair[0])):
        if len(place) > 3:
            for spelling in (place, place.replace("\\", "\\\\"), Path(place).as_posix()):
                text = text.replace(spelling, name)
    if file:
        text = text.replace(Path(file).stem, "<file>")
    text = re.sub(r"(/home/|/Users/|[A-Za-z]:\\+Users\\+)[^/\\\s\"']+", r"\1<user>", text)
    user = _user()
    return re.sub(rf"\b{re.escape(user)}\b", "<user>", text) if len(user) > 2 else text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a farm's account may have no name
        return os.environ.get("USERNAME", "")


def _versions() -> list[str]:
    manifest = (ROOT / "blender_manifest.toml").read_text("utf-8")
    version = re.search(r'(?m)^version = "([^"]+)"', manifest)
    return [
        f"Penumbra {version.group(1) if version else 'unknown'}",
        f"Blender {bpy.app.version_string} {bpy.app.build_hash.decode() if bpy.app.build_hash else ''}".rstrip(),
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} processors",
    ]


def _installation() -> list[str]:
    lines = []
    for environment in preferences.store().environments():
        lines.append(f"environment {environment.name}: {environment.mark['state']}, {environment.mark['time']}")
        lines += [f"  {f['level']}: {f['text']}" for f in environment.mark.get("findings", ())]
    if os.environ.get(backend_process.PYTHON_VARIABLE):
        lines.append(f"{backend_process.PYTHON_VARIABLE} is set")
    return lines


def _last_job() -> list[str]:
    job = jobs.latest()
    if job is None:
        return []
    lines = [f"{job.title}: {job.state} at {job.progress.stage}, {job.progress.fraction:.0%}"]
    return lines + ([str(job.problem)] if job.problem else [])


def scene_facts(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> list[str]:
    """Numbers and kinds, no names."""
    render = scene.render
    kinds = Counter(item.type for item in view_layer.objects)
    lines = [
        f"{render.resolution_x}×{render.resolution_y} at {render.resolution_percentage} %, {render.engine}",
        f"frames {scene.frame_start} to {scene.frame_end}, now {scene.frame_current}",
        "objects: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        f"view transform {scene.view_settings.view_transform}, border {render.use_border}",
    ]
    try:
        for character in everybody(view_layer).characters:
            vertices = sum(len(part.data.vertices) for part in character.parts if part.type == "MESH")
            modifiers = Counter(modifier.type for part in character.parts for modifier in part.modifiers)
            lines.append(
                f"character: {len(character.parts)} parts, {vertices} vertices, "
                f"{len(character.armature.data.bones)} bones, modifiers {dict(modifiers)}"
            )
    except PenumbraError as problem:
        lines.append(str(problem))
    camera = scene.camera
    if camera is not None and camera.type == "CAMERA":
        images = [b.image for b in camera.data.background_images if b.image]
        plates = ", ".join(f"{i.source} {tuple(i.size)} {i.colorspace_settings.name}" for i in images) or "none"
        lines.append(f"camera {camera.data.type} {camera.data.lens:.1f} mm; background images: {plates}")
    return lines
