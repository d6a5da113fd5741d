"""The supervised contrastive loss of embeddings. Part of the remote-code bundle: imports only torch.

Clips of one class are drawn together and pushed away from all others of the batch, so the loss belongs to a batch and
not to a clip: where a batch comes in parts (gradient accumulation, several processes), `nvv.training.whole_batch` puts
it together. Source: Khosla et al. 2020, Supervised Contrastive Learning, equation 2 (L_out).
"""

from __future__ import annotations

import torch

MISSING_LABEL = -100
"""Marks a clip of unknown class, as in torch's own losses."""


def supervised_contrastive_loss(
    embeddings: torch.Tensor, labels: torch.Tensor, *, temperature: float = 0.1
) -> torch.Tensor:
    """Mean over the clips of minus the mean log-probability of their partners among all other clips.

    A clip's partners are the other clips of its class. With z the embeddings and t the temperature, clip i finds clip a
    with the probability softmax over a ≠ i of (z_i · z_a / t). A clip without a partner has no term of its own and
    stays among those that the others are told from; a clip without a label takes no part, as nobody knows whether it is
    a partner. Computed in fp32 at least, also under autocast, where the similarity of two clips of one class would be
    lost to rounding.

    Args:
        embeddings: `(batch, size)`, of length 1.
        labels: `(batch,)`, class indices; -100 where missing.
        temperature: Divides the cosine similarities, > 0.

    Returns:
        The loss, a scalar: 0, with gradients of 0, where no clip has a partner.

    Raises:
        ValueError: The temperature is not positive, or the shapes do not fit.

    Example:
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> round(supervised_contrastive_loss(embeddings, torch.tensor([0, 0, 1]), temperature=1.0).item(), 4)
        0.3133
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected more than 0, found {temperature!r}.")
    if embeddings.dim() != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings and labels: expected (batch, size) and (batch,), found {tuple(embeddings.shape)} and "
            f"{tuple(labels.shape)}."
        )
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
        labels = labels.to(embeddings.device)
        known = labels != MISSING_LABEL
        embeddings, labels = embeddings[known], labels[known]
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        partners = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~itself  # (clips, clips)
        num_partners = partners.sum(dim=1)
        has_partner = num_partners > 0
        if not has_partner.any():
            return embeddings.sum() * 0.0  # joined to the graph, so that backward and DDP find every parameter
        similarities = embeddings @ embeddings.T / temperature  # (clips, clips)
        log_totals = similarities.masked_fill(itself, float("-inf")).logsumexp(dim=1)
        # Mean similarity to the partners, rather than products with a mask: 0 · inf would be NaN.
        of_partners = similarities.masked_fill(~partners, 0.0).sum(dim=1) / num_partners.clamp(min=1)
        return (log_totals - of_partners)[has_partner].mean()
