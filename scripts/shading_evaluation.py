# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures ShadingNet, ProbeNet and their rivals as the RiCS paper's Table 1: ``evaluate.py shading --data DIR…``."""

from __future__ import annotations

import argparse
import functools
import itertools
from pathlib import Path
from typing import Any, cast

import torch

from backend import device as devices
from backend import weights
from backend.protocol import PenumbraError
from backend.shading import evaluate, methods
from backend.shading.dataset import Frame, ShadingData
from backend.shading.network import ShadingNet
from backend.shading.paired import PairedNet
from backend.shading.perceptual import Fvd, Lpips
from backend.shading.probe_network import ProbeNet
from backend.splits import of_test_places
from scripts.shading_figure import write_figure

RIVALS = {
    "colour": "U-Net to colour (Pix2PixHD's kind)",
    "shading": "U-Net to shading (Deep CG2Real's kind)",
    "harmonization": "U-Net on the composite (DoveNet's kind)",
}
ABLATIONS = {
    "features": "ShadingNet without L_FM",
    "recon_s": "ShadingNet without L_recon,s",
    "recon_g": "ShadingNet without L_recon,g",
    "rics": "ShadingNet without RiCS",
    "": "ShadingNet, as long as its ablations",
}
TOLD = "{}, told the true light"
ORDER = (*RIVALS.values(), *ABLATIONS.values(), *(TOLD.format(ABLATIONS[without]) for without in ("rics", "")))
_ALIKE = {ABLATIONS[without] for without in ("features", "recon_s", "recon_g", "")}
LEFT_OUT_OF_PICTURE = _ALIKE | {TOLD.format(label) for label in (*ABLATIONS.values(), "ShadingNet")}
PERCEPTUAL = {"lpips": ("--lpips", "AlexNet and LPIPS' heads"), "fvd": ("--fvd", "I3D as TorchScript")}
LEFT_OUT = "{} is left out: its cells are empty. Give {}, with files of {}, which are not bundled."


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--data", type=Path, nargs="+", required=True, help="folders of test shards; each is a split")
    p.add_argument("--weights", type=Path, default=weights.WEIGHTS / "shadingnet", help="a folder of ShadingNet's")
    p.add_argument("--probenet", type=Path, default=weights.WEIGHTS / "probenet", help="a folder of ProbeNet's")
    p.add_argument(
        "--networks",
        type=Path,
        nargs="*",
        default=[],
        help="folders of rivals' and ablations' weights; several of one kind are its seeds",
    )
    p.add_argument(
        "--places", choices=("all", "test"), default="all", help="test: frames in city, lobby and park alone"
    )
    p.add_argument("--lpips", type=Path, nargs=2, metavar=("ALEXNET", "HEADS"), help="torchvision's and LPIPS' .pth")
    p.add_argument("--fvd", type=Path, metavar="I3D", help="i3d_torchscript.pt; for folders of sequences")
    p.add_argument("--picture", type=Path, help="write people beside methods here, with details")
    p.add_argument("--people", type=int, default=4, help="rows of the picture")
    p.add_argument(
        "--frames", type=int, help="at most about this many frames of each folder, evenly spread, or a film's first"
    )
    p.add_argument("--memory", type=float, default=6.0, help="GB")
    p.add_argument("--device", default="auto")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows, and the command's arguments that give them."""
    perceptual = evaluate.Perceptual(
        Lpips(*options.lpips) if options.lpips else None, Fvd(options.fvd) if options.fvd else None
    )
    for metric, (option, files) in PERCEPTUAL.items():
        if not getattr(options, metric):
            print(LEFT_OUT.format(metric.upper(), option, files))
    rows: list[dict] = []
    for folder in options.data:
        frames = _frames(folder, options)
        chosen, labels = _methods(options, frames)
        rows += evaluate.over_seeds(evaluate.evaluate(frames, chosen, folder.name, perceptual), labels)
        if options.picture and folder == options.data[0]:
            firsts = {labels.get(name, name): method for name, method in reversed(chosen.items())}
            drawn = {label: firsts[label] for label in reversed(firsts) if label not in LEFT_OUT_OF_PICTURE}
            write_figure(options.picture, frames, drawn, options.people)
    command = f"shading --data {' '.join(folder.name for folder in options.data)}"
    command += " --places test" if options.places == "test" else ""
    if options.networks:
        command += f" --networks {' '.join(folder.name for folder in options.networks)}"
    return rows, command


def tables(rows: list[dict]) -> str:
    """A table of each split, with all of Table 1's columns."""
    written = []
    for split in dict.fromkeys(row["split"] for row in rows):
        mine = [row for row in rows if row["split"] == split]
        table = evaluate.results_table(mine, ("rgb_mse", "ssim", "lpips", "fvd", "temporal_mse"))
        seeds = max(row.get("seeds", 1) for row in mine)
        note = f", ± half the range of {seeds} seeds" if seeds > 1 else ""
        written.append(f"**{split}**, {mine[0]['images']} images{note}\n\n{table}")
    return "\n".join(written)


def _frames(folder: Path, options: argparse.Namespace) -> list[Frame]:
    """Raises PenumbraError where none is left."""
    frames = ShadingData([folder], options.memory * 1e9).frames
    if options.places == "test":
        frames = [frame for frame in frames if all(map(of_test_places, frame.lights))]
    if not frames:
        raise PenumbraError(f"{folder.name} has no frame in city, lobby or park.", "Measure without --places test.")
    if not options.frames or any(b.follows(a) for a, b in itertools.pairwise(frames)):
        return frames[: options.frames]  # films are not thinned
    return frames[:: max(1, len(frames) // options.frames)]


def _methods(options: argparse.Namespace, frames: list[Frame]) -> tuple[dict[str, methods.Method], dict[str, str]]:
    """The methods by name, in the table's order, and the labels of those that are one of several seeds."""
    device = devices.pick(options.device)
    chosen: dict[str, methods.Method] = {
        "no harmonization": methods.no_harmonization,
        "constant: the plate's mean": methods.constant,
        "Reinhard's colour transfer": methods.colour_transfer,
        "nine spherical harmonics of the plate": methods.nine_harmonics,
    }
    labels: dict[str, str] = {}
    trained = [row for folder in options.networks for row in _trained(folder, device)]
    for label, method in sorted(trained, key=lambda pair: ORDER.index(pair[0])):
        name = f"{label}, {len(labels)}"
        chosen[name], labels[name] = method, label
    full = cast(ShadingNet, _load(options.weights, device)[0])
    probenet = cast(ProbeNet, _load(options.probenet, device)[0])
    return {
        **chosen,
        "ShadingNet": methods.by_network(full),
        TOLD.format("ShadingNet"): methods.by_told_network(full),
        "ShadingNet with the probe": methods.by_fitted_probe(full),
        "ProbeNet, its suns spread": methods.by_probenet(probenet, frames, suns=False),
        "ProbeNet": methods.by_probenet(probenet, frames),
        "the probe with the true light": methods.true_light,
    }, labels


@functools.cache  # every split asks for all networks
def _load(folder: Path, device: torch.device) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A network and its config."""
    network, config = weights.load_model(folder.name, folder.parent)
    return network.to(device), config


def _trained(folder: Path, device: torch.device) -> list[tuple[str, methods.Method]]:
    """A rival's or an ablation's rows and methods; with RiCS and without, also of G alone.

    Raises PenumbraError where the folder holds another network.
    """
    network, config = _load(folder, device)
    if isinstance(network, PairedNet):
        return [(RIVALS[network.config.kind], methods.by_paired(network))]
    without = config["trained"].get("without", [] if config["network"].get("uses_rics", True) else ["rics"])
    if not isinstance(network, ShadingNet) or len(without) > 1:
        raise PenumbraError(f"{folder.name} has no row in the table.", "Give rivals, or ShadingNet without one thing.")
    label = ABLATIONS["".join(without)]
    rows = [(label, methods.by_network(network)), (TOLD.format(label), methods.by_told_network(network))]
    return [row for row in rows if row[0] in ORDER]
