# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that is not there is refused in plain words; one with little memory does its work in smaller parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from backend import device
from backend.protocol import PenumbraError


def test_cpu_is_always_there() -> None:
    assert device.pick("cpu") == torch.device("cpu")
    assert "CPU" in device.describe(device.pick("cpu"))


def test_auto_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.pick("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.pick("auto").type == "cuda"


def test_missing_cuda_and_unknown_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PenumbraError, match=r"No CUDA device was found\. Choose"):
        device.pick("cuda")
    with pytest.raises(PenumbraError, match="no device tpu"):
        device.pick("tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.cuda
def test_memory_comes_back_on_cuda() -> None:
    block = torch.zeros(2**26, device=device.pick("cuda"))
    held = torch.cuda.memory_reserved()
    del block
    device.release_memory()
    assert torch.cuda.memory_reserved() <= held - 2**28


def test_versions_name_what_figures_depend_on() -> None:
    named = device.versions()
    assert named["torch"] == torch.__version__
    assert {"python", "numpy", "embreex"} <= named.keys()
    device.release_memory()


def short_of(points: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Squares what it is given, on a device whose memory holds this many points."""

    def work(part: torch.Tensor) -> torch.Tensor:
        if len(part) > points:
            raise torch.OutOfMemoryError("tried to allocate")
        return part**2

    return work


def test_less_memory_makes_smaller_parts_of_the_same_work() -> None:
    points = torch.arange(100_000, dtype=torch.float64)
    device.has_halved()
    assert torch.equal(device.in_chunks(points, short_of(1 << 20), device.CHUNK), points**2)
    assert not device.has_halved()
    assert torch.equal(device.in_chunks(points, short_of(3000), device.CHUNK), points**2)
    assert device.has_halved()
    assert not device.has_halved(), "it is told once"
    assert device.in_chunks(points[:0], short_of(10)).shape == (0,)
    with pytest.raises(torch.OutOfMemoryError):
        device.in_chunks(points, short_of(10))
