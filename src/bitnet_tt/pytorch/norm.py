"""RMSNorm (arXiv 1910.07467)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Divide by the root of the mean square over the last axis, then multiply by a gain for each feature."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise float32 [..., size].

        It is written with sqrt and a division. Tenstorrent's compiler replaces `x * rsqrt(...)` by a fused operation,
        which is less exact.
        """
        return self.weight * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.eps))
