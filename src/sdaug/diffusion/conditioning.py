"""What conditions the UNet on a prompt, for each version of Stable Diffusion, and the one call of the UNet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import UNet2DConditionModel
from transformers import BatchEncoding, CLIPTokenizer

from sdaug.diffusion.versions import Pipeline, is_xl, text_encoders, tokenizers

PENULTIMATE = -2  # of a text encoder's hidden states: those that SDXL reads (Podell et al., arXiv 2307.01952)


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """P prompts as the UNet reads them: embeddings of their tokens `(P, T, D)`.

    SDXL adds the pooled embedding of its second text encoder, `pooled` `(P, E)`, and the sizes in pixels `time_ids`
    `(P, 6)`: height and width of the original image, top and left of its crop, height and width of the target.
    """

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None
    time_ids: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, chosen: slice | torch.Tensor) -> "Conditioning":
        if self.pooled is None or self.time_ids is None:
            return Conditioning(tokens=self.tokens[chosen])
        return Conditioning(tokens=self.tokens[chosen], pooled=self.pooled[chosen], time_ids=self.time_ids[chosen])

    def to(self, dtype: torch.dtype) -> "Conditioning":
        """The same with embeddings in `dtype`; sizes stay as they are, since bfloat16 has no 1333."""
        pooled = None if self.pooled is None else self.pooled.to(dtype)
        return replace(self, tokens=self.tokens.to(dtype), pooled=pooled)

    def added(self, num_images: int) -> dict[str, torch.Tensor] | None:
        """What SDXL's UNet takes beside the tokens, one row per image; images are grouped by prompt."""
        if self.pooled is None or self.time_ids is None:
            return None
        times = num_images // len(self)
        repeated = [part.repeat_interleave(times, dim=0) for part in (self.pooled, self.time_ids)]
        return dict(zip(("text_embeds", "time_ids"), repeated, strict=True))


def concatenate(parts: Sequence[Conditioning]) -> Conditioning:
    """The prompts of several conditionings, all of one version."""
    tokens = torch.cat([part.tokens for part in parts])
    pooled = [part.pooled for part in parts if part.pooled is not None]
    if not pooled:
        return Conditioning(tokens=tokens)
    times = [part.time_ids for part in parts if part.time_ids is not None]
    return Conditioning(tokens=tokens, pooled=torch.cat(pooled), time_ids=torch.cat(times))


def choose(is_first: torch.Tensor, first: Conditioning, second: Conditioning) -> Conditioning:
    """One prompt per image `(B, ...)`: `first` where `is_first` `(B,)` says so, else `second`, both of one prompt."""
    return concatenate([first, second])[(~is_first).long()]


@torch.no_grad()
def encode_prompts(pipeline: Pipeline, prompts: Sequence[str], *, height: int, width: int) -> list[Conditioning]:
    """One conditioning per prompt for images of `height` x `width` pixels, embedded by the pipeline itself.

    The empty prompt is all zeros for an SDXL that was trained so, as its pipeline has it without a negative prompt.
    """
    return [_encode(pipeline, prompt, height, width) for prompt in prompts]


def _encode(pipeline: Pipeline, prompt: str, height: int, width: int) -> Conditioning:
    if not is_xl(pipeline):
        tokens = pipeline.encode_prompt(prompt, pipeline.device, 1, do_classifier_free_guidance=False)[0]
        return Conditioning(tokens=tokens)
    tokens, _, pooled, _ = pipeline.encode_prompt(prompt, device=pipeline.device, do_classifier_free_guidance=False)
    if not prompt and pipeline.config.force_zeros_for_empty_prompt:
        tokens, pooled = torch.zeros_like(tokens), torch.zeros_like(pooled)
    return Conditioning(tokens=tokens, pooled=pooled, time_ids=_time_ids(1, height, width, tokens.device))


def prompt_tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> BatchEncoding:
    """Token ids and attention mask `(P, T)` as in the pipeline's own `encode_prompt`: of one length."""
    length = tokenizer.model_max_length
    return tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")


def encoder_inputs(pipeline: Pipeline, prompts: Sequence[str]) -> list[dict[str, torch.Tensor]]:
    """What each text encoder takes for the prompts, on the pipeline's device."""
    inputs = []
    for encoder, tokenizer in zip(text_encoders(pipeline), tokenizers(pipeline), strict=True):
        tokens = prompt_tokens(tokenizer, prompts).to(pipeline.device)
        # SDXL's pipeline passes no mask, whatever the config says.
        has_mask = not is_xl(pipeline) and getattr(encoder.config, "use_attention_mask", False)
        inputs.append({"input_ids": tokens.input_ids} | ({"attention_mask": tokens.attention_mask} if has_mask else {}))
    return inputs


def embed(pipeline: Pipeline, inputs: Sequence[Mapping[str, torch.Tensor]], *, height: int, width: int) -> Conditioning:
    """The conditioning of `encoder_inputs`, with gradients for text encoders in training."""
    encoders = text_encoders(pipeline)
    if not is_xl(pipeline):
        return Conditioning(tokens=encoders[0](**inputs[0])[0])
    found = [encoder(**tokens, output_hidden_states=True) for encoder, tokens in zip(encoders, inputs, strict=True)]
    tokens = torch.cat([one.hidden_states[PENULTIMATE] for one in found], dim=-1)
    sizes = _time_ids(len(tokens), height, width, tokens.device)
    return Conditioning(tokens=tokens, pooled=found[-1].text_embeds, time_ids=sizes)


def predict(
    unet: UNet2DConditionModel, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
) -> torch.Tensor:
    """What the UNet predicts for noisy latents `(B, C, h, w)`; each of P prompts is for B / P consecutive ones."""
    predicted: torch.Tensor = unet(
        noisy,
        timesteps,
        encoder_hidden_states=conditioning.tokens,
        added_cond_kwargs=conditioning.added(len(noisy)),
        return_dict=False,
    )[0]
    return predicted


def _time_ids(num_prompts: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Images as they are: original and target of one size, and nothing cropped, in training and in sampling."""
    sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=device)
    return sizes.repeat(num_prompts, 1)
