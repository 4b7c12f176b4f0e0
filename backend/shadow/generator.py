# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadow generator (physical shadow paper, sections 3.4 and 4, stage 3), on the parts of `diffusers`.

A denoising U-Net is conditioned twice: a ControlNet sees the hint stack with the predicted mask times its confidence;
tokens of the image, bent by the light direction as far as its confidence goes (FiLM), enter by IP-Adapter
cross-attention. The prompt is empty. DDIM samples. A post-processing network makes the final picture and mask.

Two kinds: on Stable Diffusion 1.5's folder it denoises the VAE's latents of the picture, U-Net and VAE frozen, as the
paper does; the small one, trained whole, denoises the logarithm of the ratio image less that of the shadow that the
predicted mask casts. It predicts this difference, not the noise in it: so a small network leaves no noise where it
knows of nothing to draw, and begins as the physical shadow (on predicting clean data: Li and He, 2025).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, IPAdapterAttnProcessor2_0
from torch import Tensor, nn

from ..display import decode_display, encode_display
from ..protocol import PenumbraError
from ..weights import NetworkConfig
from .networks import HINT, SEEN, Hourglass, ShadowPredictors, hint
from .tone import CLEAR_DAY

SHADOW_WEIGHT = 10.0  # of the noise inside the predicted shadow; the paper's factor is lost, SGDiffusion's is 10
STEPS, SMALL_STEPS = 50, 4  # of DDIM; the small generator's error grows with more
CLEANEST = 10.0  # at most so much more an error counts where there is less noise
DEEPEST = 3.0  # −log of the smallest ratio that is told apart
DIFFERENCE = 0.4  # of logarithms of ratios, the small generator's from the mask's shadow, that is as large as its noise
WITHOUT = ("points", "mask", "light", "confidences")
_GRID = 4  # the light's tokens are a grid of so many each way


@dataclass(frozen=True)
class GeneratorConfig(NetworkConfig):
    """size: pixels a side that it generates. widths, layers, heads, prompt: of the small U-Net and its attention.
    patch: pixels a side that the small U-Net takes for the channels of one.

    token_width: channels of the light's tokens before they enter. post: channels of the post-processing network.
    without: which of WITHOUT it is not told, for the ablations.
    """

    size: int = 128
    patch: int = 4
    widths: tuple[int, ...] = (64, 96, 96, 96)
    layers: int = 1
    heads: int = 4
    prompt: int = 64
    token_width: int = 48
    post: int = 16
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """What a shadow is generated from, for B pictures.

    composite: (B, 3, H, W) display-encoded in [0, 1]; hint: (B, 7, H, W), see `networks.hint`; mask: (B, 1, H, W) the
    predicted shadow; light: (B, 3); light_quality, mask_quality: (B,) confidences in [0, 1]; taken: (B, 3) share of the
    light in [0, 1) that the shadow is thought to take where it is deepest.
    """

    composite: Tensor
    hint: Tensor
    mask: Tensor
    light: Tensor
    light_quality: Tensor
    mask_quality: Tensor
    taken: Tensor

    @property
    def object(self) -> Tensor:
        return self.hint[:, 3:4]

    def without(self, names: Sequence[str]) -> Conditions:
        """Less some of WITHOUT; without confidences, mask and light are taken for certain."""
        flat, sure = torch.ones_like(self.hint), torch.ones_like(self.light_quality)
        flat[:, 4:] = 0
        light_quality, mask_quality = (
            (sure, sure) if "confidences" in names else (self.light_quality, self.mask_quality)
        )
        return dataclasses.replace(
            self,
            hint=self.hint * flat if "points" in names else self.hint,
            mask=0 * self.mask if "mask" in names else self.mask,
            light_quality=0 * sure if "light" in names else light_quality,
            mask_quality=mask_quality,
        )

    def repeated(self, count: int) -> Conditions:
        """Each picture `count` times, one after the other."""
        return Conditions(*(getattr(self, f.name).repeat_interleave(count, 0) for f in dataclasses.fields(self)))


class LightTokens(nn.Module):
    """A light encoder of image and object mask, modulated by the light (FiLM, gated by its confidence): 16 tokens."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, width // 2, 5, 4, 2), nn.SiLU(),
            nn.Conv2d(width // 2, width, 3, 2, 1), nn.SiLU(),
            nn.Conv2d(width, width, 3, 2, 1), nn.GroupNorm(4, width),
        )  # fmt: skip
        self.film = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, 2 * width))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out), nn.LayerNorm(out))

    def forward(self, c: Conditions) -> Tensor:
        """(B, 16, out)."""
        maps = F.adaptive_avg_pool2d(self.body(c.hint[:, :4]), _GRID)
        scale, shift = (self.film(c.light) * c.light_quality[:, None])[:, :, None, None].chunk(2, 1)
        return self.out((maps * (1 + scale) + shift).flatten(2).mT)


class _AsTheyAre(nn.Module):
    """In the place of an IP-Adapter's image projection: our tokens need none."""

    def forward(self, tokens: Tensor) -> list[Tensor]:
        return [tokens]


class PostProcessor(nn.Module):
    """From a generated ratio, composite and object mask to the final ratio and the logits of the shadow's mask."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = Hourglass(7, width, quiet=True, outputs=4)

    def forward(self, ratio: Tensor, composite: Tensor, object_: Tensor) -> tuple[Tensor, Tensor]:
        """Linear ratio (B, 3, H, W) in (0, 1], display-encoded composite (B, 3, H, W) and mask (B, 1, H, W) → ratio
        and logits (B, 1, H, W)."""
        out = self.body(torch.cat([shaded(composite, ratio) * 2 - 1, composite * 2 - 1, object_], 1))
        return (ratio.clamp(min=1e-6).log() + out[:, :3]).clamp(-DEEPEST, 0).exp(), out[:, 3:]


class ShadowGenerator(nn.Module):
    """Denoises shadows. Build it with `small` or `on_stable_diffusion`."""

    def __init__(
        self, config: GeneratorConfig, unet: UNet2DConditionModel, vae: AutoencoderKL | None, prompt: Tensor
    ) -> None:
        super().__init__()
        self.config = config
        self.patch = config.patch if vae is None else 1
        inner = (16, 32, 96, 256) if vae is not None else (32,)
        self.controlnet = ControlNetModel.from_unet(
            unet,
            conditioning_channels=(HINT + 1) * self.patch**2,
            conditioning_embedding_out_channels=inner,
        )
        width = unet.config["cross_attention_dim"]
        self.tokens = LightTokens(config.token_width, width)
        self.post = PostProcessor(config.post)
        _attend_to_tokens(unet, width)
        self.unet = unet
        self.vae = vae
        self.register_buffer("prompt", prompt, persistent=False)
        betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
        if vae is None:
            self.scheduler = DDIMScheduler(
                **betas, prediction_type="sample", clip_sample=False,
                rescale_betas_zero_snr=True, timestep_spacing="trailing",
            )  # fmt: skip
        else:  # Stable Diffusion's own
            self.scheduler = DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)

    @classmethod
    def small(cls, config: GeneratorConfig) -> ShadowGenerator:
        """The bundled kind: three channels of log ratio at `config.size` pixels a side."""
        count, channels = len(config.widths), 3 * config.patch**2
        attending = min(2, count - 1)  # attention on the coarsest levels alone: finer ones cost too much
        unet = UNet2DConditionModel(
            in_channels=channels, out_channels=channels, sample_size=config.size // config.patch,
            block_out_channels=config.widths,
            down_block_types=(*["DownBlock2D"] * (count - attending), *["CrossAttnDownBlock2D"] * attending),
            up_block_types=(*["CrossAttnUpBlock2D"] * attending, *["UpBlock2D"] * (count - attending)),
            layers_per_block=config.layers, attention_head_dim=config.heads, norm_num_groups=8,
            cross_attention_dim=config.prompt,
        )  # fmt: skip
        nn.init.zeros_(unet.conv_out.weight)
        nn.init.zeros_(cast(Tensor, unet.conv_out.bias))
        generator = cls(config, unet, None, torch.zeros(1, 1, config.prompt))
        control = generator.controlnet  # its zeros spare a trained U-Net; this one is to hear of its conditions at once
        for layer in (
            *control.controlnet_down_blocks,
            control.controlnet_mid_block,
            control.controlnet_cond_embedding.conv_out,
        ):
            layer.reset_parameters()
        for processor in generator.unet.attn_processors.values():
            if isinstance(processor, IPAdapterAttnProcessor2_0):
                processor.to_v_ip[0].reset_parameters()
        return generator

    @classmethod
    def on_stable_diffusion(
        cls, folder: Path, config: GeneratorConfig, trained: dict[str, Tensor] | None = None
    ) -> ShadowGenerator:
        """On a local folder in Stable Diffusion 1.5's layout: unet, vae, text_encoder, tokenizer; U-Net and VAE frozen.

        trained: what training added, the state of `added`.
        Raises PenumbraError where a part is missing.
        """
        folder = Path(folder)
        absent = [n for n in ("unet", "vae", "text_encoder", "tokenizer") if not (folder / n).is_dir()]
        if absent:
            raise PenumbraError(f"{folder} has no folder {absent[0]}.", "Name a folder of Stable Diffusion 1.5.")
        try:
            unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", use_safetensors=True)
            vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", use_safetensors=True)
            prompt = _empty_prompt(folder)
        except (OSError, ValueError) as problem:
            raise PenumbraError(
                f"The Stable Diffusion in {folder} cannot be read: {problem}", "Its weights must be safetensors."
            ) from problem
        generator = cls(config, unet, vae, prompt)
        generator.unet.requires_grad_(False)
        generator.vae.requires_grad_(False)
        for processor in generator.unet.attn_processors.values():
            if isinstance(processor, IPAdapterAttnProcessor2_0):
                processor.requires_grad_(True)
        if trained is not None:
            generator.added().load_state_dict(trained)
        return generator

    @property
    def steps(self) -> int:
        """Of DDIM in a sample."""
        return SMALL_STEPS if self.vae is None else STEPS

    def added(self) -> nn.ModuleDict:
        """What training adds to Stable Diffusion: everything but its own U-Net, VAE and text encoder."""
        adapters = [p for p in self.unet.attn_processors.values() if isinstance(p, IPAdapterAttnProcessor2_0)]
        parts = {"controlnet": self.controlnet, "tokens": self.tokens, "post": self.post}
        return nn.ModuleDict({**parts, "adapters": nn.ModuleList(adapters)})

    def latents(self, target: Tensor, ratio: Tensor, c: Conditions) -> Tensor:
        """What is denoised: of pictures (B, 3, H, W) in [0, 1], or of linear ratios (B, 3, H, W) in (0, 1]."""
        if self.vae is None:
            return (ratio.clamp(min=1e-6).log().clamp(min=-DEEPEST) - self.shadow_of_mask(c)) / DIFFERENCE
        with torch.no_grad():
            return self.vae.encode(target * 2 - 1, return_dict=False)[0].mode() * self.vae.config["scaling_factor"]

    def decode(self, latents: Tensor, c: Conditions) -> Tensor:
        """(B, 3, H, W) linear ratio in (0, 1] of latents."""
        if self.vae is None:
            return (latents * DIFFERENCE + self.shadow_of_mask(c)).clamp(-DEEPEST, 0).exp()
        picture = self.vae.decode(latents / self.vae.config["scaling_factor"], return_dict=False)[0] / 2 + 0.5
        return (decode_display(picture) / decode_display(c.composite).clamp(min=1e-3)).clamp(1e-3, 1)

    def shadow_of_mask(self, c: Conditions) -> Tensor:
        """(B, 3, H, W) logarithm of the shadow that is thought to be where the mask is, as far as that is trusted."""
        c = c.without(self.config.without)
        trusted = c.mask * c.mask_quality[:, None, None, None]
        return (1 - trusted * c.taken[:, :, None, None]).log().clamp(min=-DEEPEST)

    def denoise(self, noisy: Tensor, step: Tensor, c: Conditions) -> Tensor:
        """What the scheduler asks for of (B, C, h, w) at diffusion steps (B,): the noise in it, or what it is of."""
        c = c.without(self.config.without)
        control = torch.cat([c.hint, c.mask * c.mask_quality[:, None, None, None]], 1)
        noisy, control = (F.pixel_unshuffle(x, self.patch) for x in (noisy, control))
        prompt = self.prompt.expand(len(noisy), -1, -1)
        down, middle = self.controlnet(noisy, step, prompt, controlnet_cond=control, return_dict=False)
        found = self.unet(
            noisy, step, prompt, added_cond_kwargs={"image_embeds": self.tokens(c)},
            down_block_additional_residuals=down, mid_block_additional_residual=middle, return_dict=False,
        )[0]  # fmt: skip
        return F.pixel_shuffle(found, self.patch)

    def noise_loss(
        self, target: Tensor, ratio: Tensor, c: Conditions, generator: torch.Generator | None = None
    ) -> Tensor:
        """Equation 8 (of the clean image where that is predicted), SHADOW_WEIGHT times within the predicted shadow."""
        clean = self.latents(target, ratio, c)
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        count = self.scheduler.config["num_train_timesteps"]
        step = torch.randint(count, (len(clean),), generator=generator, device=clean.device)
        predicted = self.denoise(self.scheduler.add_noise(clean, noise, step), step, c)
        true = noise if self.vae is not None else clean
        inside = F.interpolate((c.mask > 0.5).float(), clean.shape[-2:], mode="area")
        weight = 1 + (SHADOW_WEIGHT - 1) * inside
        if self.vae is None:  # as a velocity's error weighs: a clean image from little noise must be cleaner
            kept = self.scheduler.alphas_cumprod.to(clean)[step]
            weight = weight * (1 / (1 - kept).clamp(min=1 / CLEANEST))[:, None, None, None]
        return ((predicted.float() - true).square() * weight).mean()

    @torch.no_grad()
    def sample(self, c: Conditions, seed: int, steps: int | None = None) -> Tensor:
        """(B, 3, H, W) linear ratio images by DDIM; the same seed gives the same shadows. Pictures differ in noise."""
        scale = 1 if self.vae is None else 2 ** (len(self.vae.config["block_out_channels"]) - 1)
        height, width = (n // scale for n in c.composite.shape[-2:])
        shape = (self.unet.config["in_channels"] // self.patch**2, height, width)
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(len(c.light))]
        x = torch.stack(noise).to(c.composite.device)
        self.scheduler.set_timesteps(steps or self.steps, device=x.device)
        for step in self.scheduler.timesteps:
            x = self.scheduler.step(self.denoise(x, step.expand(len(x)), c), step, x, return_dict=False)[0]
        return self.decode(x, c)

    def finish(self, ratio: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        """The final ratio (B, 3, H, W) and the shadow's mask (B, 1, H, W) in [0, 1], of sampled ratios."""
        ratio, logits = self.post(ratio, c.composite, c.object)
        return ratio, torch.sigmoid(logits)


@torch.no_grad()
def condition(
    predictors: ShadowPredictors, pictures: tuple[Tensor, Tensor, Tensor, Tensor], light: Tensor | None = None
) -> Conditions:
    """What the predictors, as they are, tell of pictures: composite, object, points and valid, as `networks.hint`.

    light: (B, 3) where it is known, and then trusted in full.
    """
    composite, size = pictures[0], pictures[0].shape[-2:]
    small = pictures
    if max(size) > SEEN:
        seen = (SEEN, SEEN)
        small = [F.interpolate(composite, seen, mode="bilinear", antialias=True, align_corners=False)]
        small += [F.interpolate(x, seen, mode="nearest-exact") for x in pictures[1:]]
    p = predictors(*small, light=light)
    mask = F.interpolate(p.mask, size, mode="bilinear", align_corners=False) * (1 - pictures[1])
    light_quality = p.light_quality if light is None else torch.ones_like(p.light_quality)
    taken = clear_day(composite)
    return Conditions(composite, hint(*pictures), mask, p.light, light_quality, p.mask_quality, taken)


def clear_day(composite: Tensor) -> Tensor:
    """(B, 3) the share of the light that shadows take on a clear day."""
    return composite.new_tensor(CLEAR_DAY).expand(len(composite), 3)


def shaded(composite: Tensor, ratio: Tensor) -> Tensor:
    """Display-encoded composites with linear ratios applied."""
    return encode_display(decode_display(composite) * ratio)


def _attend_to_tokens(unet: UNet2DConditionModel, width: int) -> None:
    """Give every cross-attention an IP-Adapter for the light's tokens, which adds nothing to begin with."""
    processors: dict[str, nn.Module | AttnProcessor2_0] = {}
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            attention = cast(Attention, unet.get_submodule(name.removesuffix(".processor")))
            adapter = IPAdapterAttnProcessor2_0(attention.to_k.out_features, width, num_tokens=(_GRID * _GRID,))
            nn.init.zeros_(adapter.to_v_ip[0].weight)
            processors[name] = adapter
        else:
            processors[name] = AttnProcessor2_0()
    unet.set_attn_processor(processors)
    unet.encoder_hid_proj = _AsTheyAre()  # pyright: ignore[reportAttributeAccessIssue]
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")


def _empty_prompt(folder: Path) -> Tensor:
    """(1, 77, 768) what the folder's text encoder makes of no words."""
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as problem:
        raise PenumbraError(
            "Stable Diffusion needs the package transformers, which is not installed.",
            "Install it into the backend's environment: python -m pip install transformers.",
        ) from problem
    tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", use_safetensors=True).eval()
    ids = tokenizer([""], padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids)[0]
