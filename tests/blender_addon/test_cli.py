# SPDX-License-Identifier: GPL-3.0-or-later
"""`--command penumbra harmonize`: its arguments and its exit status."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy
import pytest
from penumbra.blender_addon import cli


@pytest.mark.parametrize(
    ("text", "frames"),
    [("7", (7,)), ("7-9", (7, 8, 9)), ("-3", (-3,)), ("-2-1", (-2, -1, 0, 1)), ("-5--3", (-5, -4, -3))],
)
def test_frames(text, frames):
    assert cli._frames(text) == frames


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "1:5", "1.5"])
def test_frames_that_are_none(text):
    with pytest.raises(argparse.ArgumentTypeError):
        cli._frames(text)


@pytest.mark.parametrize(
    "arguments",
    [[], ["brighten"], ["harmonize", "--frames", "b-a"], ["harmonize", "--nonsense"]],
)
def test_wrong_usage_is_not_success(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "usage: blender -b FILE.blend --command penumbra" in capsys.readouterr().err


def test_a_range_is_written_and_reported(harmonized_by, scene, tmp_path, capsys):
    harmonized_by("render")
    assert cli.main(["harmonize", "--frames", "1-2", "--out", str(tmp_path / "out"), "--character", "Hat"]) == 0
    shown = capsys.readouterr().out
    assert "Penumbra: Shading" in shown
    assert "Rig" in shown
    assert len(list((tmp_path / "out").rglob("*hading*.exr"))) == 2


@pytest.mark.parametrize("behaviour", ["refuse", "crash"])
def test_failure_has_a_status_and_a_sentence(harmonized_by, scene, tmp_path, capsys, behaviour):
    harmonized_by(behaviour)
    assert cli.main(["harmonize", "--out", str(tmp_path / "out")]) == cli.FAILED
    shown = capsys.readouterr()
    assert shown.err.startswith("Penumbra: The ")
    assert "Traceback" not in shown.err
    assert not list(tmp_path.glob("out/**/*.exr"))


def test_no_character_of_that_name(scene, capsys):
    assert cli.main(["harmonize", "--character", "Nobody"]) == cli.SCENE
    assert "Nobody" in capsys.readouterr().err


def test_an_empty_file_is_a_failure(extension, empty_scene, capsys):
    assert cli.main(["harmonize"]) == cli.SCENE
    assert capsys.readouterr().err.startswith("Penumbra: ")
    assert Path(bpy.data.filepath) == Path()
