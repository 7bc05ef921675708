"""The losses of the study."""

import torch
import torch.nn.functional as F


def focal_loss(logits: torch.Tensor, labels: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """The mean focal loss of `(B, K)` logits and `(B,)` labels (Lin et al., arXiv 1708.02002, eq. 4).

    With `gamma` 0 it is the cross entropy.
    """
    B, _ = logits.shape
    log_p = F.log_softmax(logits, dim=1)[torch.arange(B, device=logits.device), labels]
    return (-((1.0 - log_p.exp()) ** gamma) * log_p).mean()
