# SPDX-License-Identifier: GPL-3.0-or-later
"""The network that is shipped: image encoder and joint field in one."""

from __future__ import annotations

from torch import Tensor, nn

from .code_space import CodeSpace
from .doubt import Doubt
from .encoder import Fit, ImageEncoder
from .network import JointField, ObjectConfig


class Reconstructor(nn.Module):
    """From a picture to codes, projection and light, and from codes to parts, shape and albedo."""

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        self.config = config
        self.field = JointField(config)
        self.encoder = ImageEncoder(config)
        self.space = CodeSpace(config)
        self.doubt = Doubt(config)

    def forward(self, picture: Tensor) -> Fit:
        """picture: (B, 4, 128, 128), `dataset.encoder_input`."""
        return self.encoder(picture)
