#!/usr/bin/env bash
# Version:  diffusers 0.42.1 with transformers 5.23.0 and torch 2.13.0, tried 2026-11-28 on Linux, Python 3.11
# Source:   https://huggingface.co/docs/diffusers/api/pipelines/stable_diffusion/stable_diffusion_xl
#           (force_zeros_for_empty_prompt: "whether the negative prompt embeddings shall be forced to always be set to 0");
#           diffusers/pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py (encode_prompt)
# Guess:    no negative prompt and an empty one are the same: with force_zeros_for_empty_prompt, which SDXL's base has,
#           both are zeros.
# Seen:     only `negative_prompt=None` becomes zeros. `negative_prompt=""` is encoded by both text encoders, and the same
#           seed gives another image.
# Why odd:  the option is named after the empty prompt and does nothing for it, and for Stable Diffusion 1.5 the two are
#           the same; a form that sends its empty field as "" draws other images than a script that leaves it out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  diffusers==0.42.1 transformers==5.23.0 torch==2.13.0 numpy==2.3.5
cat > "$folder/empty.py" <<'PY'
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

torch.manual_seed(0)
vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
tokenizer = CLIPTokenizer(vocabulary, [], model_max_length=8)
text = CLIPTextConfig(
    vocab_size=3, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=8, projection_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
)  # fmt: skip
shared = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64}
vae = AutoencoderKL(block_out_channels=(32,), latent_channels=4, sample_size=8)
xl = StableDiffusionXLPipeline(
    vae, CLIPTextModel(text), CLIPTextModelWithProjection(text), tokenizer, tokenizer,
    UNet2DConditionModel(**shared, **sizes, cross_attention_dim=32), DDIMScheduler(),
    force_zeros_for_empty_prompt=True, add_watermarker=False,
)  # fmt: skip
plain = StableDiffusionPipeline(
    vae, CLIPTextModel(text), tokenizer, UNet2DConditionModel(**shared, cross_attention_dim=16), DDIMScheduler(),
    None, None, requires_safety_checker=False,
)  # fmt: skip


def draw(pipeline, negative):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        "a",
        negative_prompt=negative,
        height=8,
        width=8,
        num_inference_steps=2,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images


same = {kind: torch.equal(draw(pipeline, None), draw(pipeline, "")) for kind, pipeline in (("1.x", plain), ("XL", xl))}
print("no negative prompt and an empty one give the same latents:", same)
assert same == {"1.x": True, "XL": False}, "CHANGED"
PY
"$folder/venv/bin/python" "$folder/empty.py"
echo "as found"
