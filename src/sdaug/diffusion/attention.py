"""Cross-attention of many images to few prompts: keys and values are made once for each prompt, not for each image."""

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0


class SharedPrompts:
    """A processor for a UNet's cross-attention, whose prompts may be fewer than the images.

    Images are in the order of their prompts, as many for each; one prompt for each image is the usual case.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`(B, N, C)` places of images and `(P, T, D)` embeddings of prompts, B a multiple of P -> `(B, N, C)`.

        Raises:
            ValueError: a mask, which Stable Diffusion has none of.
        """
        if attention_mask is not None:
            raise ValueError("shared prompts take no attention mask")
        B, N, _ = hidden_states.shape
        P = len(encoder_hidden_states)
        query = attn.to_q(hidden_states)  # (B, N, heads * d)
        # All places of all images of one prompt ask the same keys: to attention they are one long sequence.
        query, key, value = (
            tensor.reshape(P, -1, attn.heads, query.shape[-1] // attn.heads).transpose(1, 2)
            for tensor in (query, attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        )
        found = F.scaled_dot_product_attention(query, key, value)  # (P, heads, B / P * N, d)
        projected: torch.Tensor = attn.to_out[0](found.transpose(1, 2).reshape(B, N, -1))
        return projected


def share_prompts(unet: UNet2DConditionModel) -> None:
    """Let a UNet take fewer prompts than images; its weights, and what it computes, stay as they are.

    Raises:
        ValueError: a UNet that attends to its prompts in another way than Stable Diffusion 1.x and 2.x do.
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
                "Stable Diffusion 1.x and 2.x; choose such a model"
            )
        module.set_processor(SharedPrompts())
