"""Cross-attention of many images to few prompts, with keys and values computed once per prompt, not per image."""

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0


class SharedPrompts:
    """A cross-attention processor that accepts fewer prompts than images.

    Images are grouped by prompt, with equally many per prompt; one image per prompt is ordinary cross-attention.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend from image positions `(B, N, C)` to prompt embeddings `(P, T, D)`, B a multiple of P -> `(B, N, C)`.

        Raises:
            ValueError: an attention mask is given; Stable Diffusion uses none.
        """
        if attention_mask is not None:
            raise ValueError("shared prompts take no attention mask")
        B, N, _ = hidden_states.shape
        P = len(encoder_hidden_states)
        query = attn.to_q(hidden_states)  # (B, N, heads * d)
        # All images of a prompt share its keys and values, so their positions form one long query sequence.
        # A guided UNet call of 16 images takes 143 ms instead of 157 (benchmarks/synthesize.py).
        query, key, value = (
            tensor.reshape(P, -1, attn.heads, query.shape[-1] // attn.heads).transpose(1, 2)
            for tensor in (query, attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        )
        found = F.scaled_dot_product_attention(query, key, value)  # (P, heads, B / P * N, d)
        projected: torch.Tensor = attn.to_out[0](found.transpose(1, 2).reshape(B, N, -1))
        return projected


def share_prompts(unet: UNet2DConditionModel) -> None:
    """Let a UNet take fewer prompts than images, in place; its weights and results do not change.

    Raises:
        ValueError: its cross-attention differs from that of Stable Diffusion 1.x, 2.x and XL.
    """
    for name, module in unet.named_modules():
        if not isinstance(module, Attention) or not module.is_cross_attention:
            continue
        if type(module.processor) is SharedPrompts:
            continue
        is_plain = module.norm_cross is None and not module.residual_connection and module.rescale_output_factor == 1
        if type(module.processor) is not AttnProcessor2_0 or not is_plain:
            raise ValueError(
                f"base: the UNet's {name} is {type(module.processor).__name__}, not the cross-attention of "
                "Stable Diffusion 1.x, 2.x and XL; choose one of those models"
            )
        module.set_processor(SharedPrompts())
