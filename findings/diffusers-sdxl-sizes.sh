#!/usr/bin/env bash
# Version:  diffusers 0.42.1 with transformers 5.23.0 and torch 2.13.0, tried 2026-11-28 on Linux, Python 3.11
# Source:   https://arxiv.org/abs/2307.01952, section 2.2 (micro-conditioning);
#           https://huggingface.co/docs/diffusers/api/pipelines/stable_diffusion/stable_diffusion_xl (original_size);
#           diffusers/pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py (_get_add_time_ids)
# Guess:    the sizes that condition SDXL are whole numbers that go into sinusoids, so they reach the UNet exactly: images
#           for `original_size` 1333 and 1336 differ a little, in bfloat16 as in float32.
# Seen:     the pipeline casts sizes to the type of the prompt embeddings before the sinusoids are made. In float32 the
#           images differ; in bfloat16, which counts in eights above 1024, they are the same pixel for pixel.
# Why odd:  the sinusoids themselves are computed in float32, so nothing is gained by rounding what goes into them; a sweep
#           over original or target sizes in bfloat16 silently has steps of 8 pixels, above 2048 of 16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  diffusers==0.42.1 transformers==5.23.0 torch==2.13.0 numpy==2.3.5
cat > "$folder/sizes.py" <<'PY'
import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

torch.manual_seed(0)
unet = UNet2DConditionModel(
    sample_size=8,
    block_out_channels=(32, 64),
    layers_per_block=1,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    attention_head_dim=(2, 4),
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=8,
    transformer_layers_per_block=(1, 1),
    projection_class_embeddings_input_dim=6 * 8 + 16,
    cross_attention_dim=16,
)
# Sinusoids of sizes count for little in random weights: let them count for more.
unet.add_embedding.linear_1.weight.data *= 30
vae = AutoencoderKL(block_out_channels=(32,), latent_channels=4, sample_size=8)
pipeline = StableDiffusionXLPipeline(
    vae, None, None, None, None, unet, EulerDiscreteScheduler(), add_watermarker=False
)
pipeline.set_progress_bar_config(disable=True)
prompts = {"prompt_embeds": torch.randn(1, 5, 16), "pooled_prompt_embeds": torch.randn(1, 16)}


def draw(dtype, size):
    pipeline.unet.to(dtype), pipeline.vae.to(dtype)
    given = {name: value.to(dtype) for name, value in prompts.items()}
    return pipeline(
        **given,
        original_size=(size, size),
        target_size=(64, 64),
        height=8,
        width=8,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images


same = {str(dtype): torch.equal(draw(dtype, 1333), draw(dtype, 1336)) for dtype in (torch.float32, torch.bfloat16)}
print("original_size 1333 and 1336 give the same latents:", same)
assert same == {"torch.float32": False, "torch.bfloat16": True}, "CHANGED"
PY
"$folder/venv/bin/python" "$folder/sizes.py"
echo "as found"
