# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m backend doctor`: a healthy environment has no finding, and every ailment its remedy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from backend import doctor, weights
from backend.doctor import NOTICE, OK, PROBLEM


def test_the_command_finds_this_environment_well(root: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "backend", "doctor", "--json"], cwd=root, capture_output=True, text=True, check=False
    )
    findings = json.loads(ended.stdout)["findings"]
    assert ended.returncode == 0, findings
    assert not [finding for finding in findings if finding["level"] == PROBLEM]
    assert any("million rays a second" in finding["text"] for finding in findings)


def test_damaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(weights.WEIGHTS / "shadingnet", tmp_path / "shadingnet")
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path)
    assert [finding.level for finding in doctor._weights()] == [OK]
    model = tmp_path / "shadingnet" / weights.MODEL
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    (finding,) = doctor._weights()
    assert finding.level == PROBLEM
    assert finding.remedy


def test_missing_and_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "scipy":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "numpy" else real(name)

    real = metadata.version
    monkeypatch.setattr(doctor.metadata, "version", version)
    missing, other = doctor._packages()
    assert (missing.level, "scipy" in missing.text) == (PROBLEM, True)
    assert (other.level, "numpy 0.1 instead of" in other.text) == (NOTICE, True)


def test_a_check_that_breaks_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "_device", broken)
    monkeypatch.setattr(doctor, "_speed", lambda: iter(()))
    monkeypatch.setattr(doctor, "_modules", lambda: iter(()))
    found = doctor.examine()
    assert any(finding.level == PROBLEM and "boom" in finding.text for finding in found)
    assert any("weights" in finding.text for finding in found)


@pytest.mark.parametrize(
    ("capability", "word"),
    [((8, 6), None), ((7, 5), None), ((6, 1), "too old"), ((5, 0), "too old"), ((13, 0), "too new")],
)
def test_graphics_cards(capability: tuple[int, int], word: str | None) -> None:
    found = list(doctor._graphics_card(capability, ["sm_75", "sm_80", "sm_90", "sm_120", "compute_120"]))
    assert [word in finding.text for finding in found] == ([] if word is None else [True])


def test_a_missing_library_is_named() -> None:
    assert "libGL.so.1" in doctor._library_remedy("libGL.so.1: cannot open shared object file: No such file")
