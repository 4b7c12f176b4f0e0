# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation that fails says, in an artist's words. Standard library only."""

from __future__ import annotations

import re

from ...backend.protocol import PenumbraError

AGAIN = "then click Install Backend again: it goes on where it stopped."
# The first pattern found in the output of uv, in lower case, wins; so the special ones stand before the general.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left|not enough space|os error 112|os error 28\b|errno 28\b|disk quota",
        "The disk is full.",
        f"Free some space, {AGAIN}",
    ),
    (
        r"os error 225|contains a virus|potentially unwanted",
        "The antivirus program stopped a file of the backend.",
        f"Allow Penumbra's folder in its settings, {AGAIN}",
    ),
    (
        r"os error 32\b|being used by another process|os error 5\b|access is denied",
        "Another program, often the antivirus, holds a file of the backend.",
        f"Close other Blenders, allow Penumbra's folder in the antivirus program, {AGAIN}",
    ),
    (
        r"permission denied|operation not permitted|read-only file system|os error 13\b|os error 30\b",
        "The folder of Blender's extensions cannot be written.",
        f"Ask who looks after this computer for write access to it, {AGAIN}",
    ),
    (
        r"\b407\b|proxy",
        "The network's proxy refused the connection.",
        f"Set HTTPS_PROXY to the proxy's address, with name and password where it wants them, start Blender, {AGAIN}",
    ),
    (
        r"certificate|unknownissuer|self[- ]signed|ssl",
        "The connection could not be verified: a firewall or antivirus program reads it.",
        "Ask who looks after the network, or install from a folder of wheels.",
    ),
    (
        r"hash mismatch|sha256 differs",
        "A downloaded file is not what it should be.",
        "Click Install Backend again; where it stays so, another network may help.",
    ),
    (
        r"dns|failed to lookup|name or service|getaddrinfo|connection (refused|reset|aborted)|timed? ?out|"
        r"network is unreachable|connect error|error sending request|failed to fetch|failed to download|urlopen",
        "The package index cannot be reached.",
        f"Check the internet connection, {AGAIN} Without one, install from a folder of wheels.",
    ),
    (
        r"failed to install cpython|downloads are set to 'never'",
        "There is no Python 3.11 for the backend.",
        f"Install Python 3.11 on this computer, {AGAIN}",
    ),
    (
        r"no wheels with a matching|no wheel for the current platform|no matching distribution|"
        r"no solution found|not found in the (package registry|provided package locations)|no interpreter found",
        "A package that the backend needs is not there for this computer.",
        "Choose another accelerator. Where you install from a folder of wheels, complete it.",
    ),
)


def explain(output: str) -> PenumbraError:
    """The plain sentence and the remedy for what a failed step wrote."""
    text = output.lower()
    for pattern, message, remedy in _KNOWN:
        if re.search(pattern, text):
            return PenumbraError(message, remedy)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next((line for line in lines if line.lower().startswith("error")), lines[-1] if lines else "no message")
    return PenumbraError(
        f"The installation failed: {reason.removeprefix('error: ')[:160].rstrip('.')}.",
        "Click Open Log, which has the details.",
    )


def out_of_space(needed_mb: int, free_mb: int) -> PenumbraError:
    return PenumbraError(
        f"The disk has {free_mb / 1000:.1f} GB free, and the backend needs {needed_mb / 1000:.1f} GB.",
        f"Free some space, {AGAIN}",
    )


def unfit_card(name: str, driver: str, capability: float) -> PenumbraError | None:
    """What keeps an NVIDIA card from running the CUDA environment; None where nothing does.

    driver: such as "535.104.05"; capability: its compute capability, such as 7.5.
    """
    if capability < 7.5:
        return PenumbraError(f"The graphics card {name} is too old for CUDA 13.", "Choose CPU.")
    if int(driver.partition(".")[0]) < 580:
        return PenumbraError(
            f"The NVIDIA driver {driver} is too old for CUDA 13.", "Update it to 580 or newer, or choose CPU."
        )
    return None
