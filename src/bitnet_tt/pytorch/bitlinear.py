"""BitLinear (W1.58A8, arXiv 2402.17764): 8-bit activations times ternary weights. One to run, one to train.

    s = 127 / max|x|              activation scale, one for each token
    q = round(x * s)              integers from -127 to 127
    w = mean|W|                   weight scale, one for each matrix
    T = clip(round(W / w), -1, 1) ternary weights
    y = (q · Tᵀ) * (w / s)

The integers travel as float32. Every sum of their products is below 2**24, so float32 holds it exactly, whatever the
order of the sums. (An integer dot would be exact too, but compilers for Tenstorrent expand it into multiplications.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitnet_tt.pytorch.norm import RMSNorm

_MIN_MAGNITUDE = 1e-5
"""Lower limit of an absmax or absmean, so that a row of zeros is not divided by zero."""


def round_half_even(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves to the even one, with the same bits as `torch.round`.

    It uses floor, comparisons and a selection only: Tenstorrent's compiler has no conversion for StableHLO's
    round_nearest_even, which `torch.round` becomes.
    """
    below = torch.floor(x)
    rest = x - below
    is_odd = below - 2 * torch.floor(below * 0.5) == 1
    return torch.where((rest > 0.5) | ((rest == 0.5) & is_odd), below + 1, below)


def quantize_activations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise each token to 8 bits by its absmax.

    Args:
        x: float32 [..., features].

    Returns:
        The integers q, float32 [..., features], and the activation scale s, float32 [..., 1]. x is about q / s.
    """
    largest = x.abs().amax(-1, keepdim=True).clamp(min=_MIN_MAGNITUDE)
    # 127.0 / largest would be rounded twice: PyTorch multiplies a number by the reciprocal.
    scale = torch.full_like(largest, 127.0) / largest
    return round_half_even(x * scale).clamp(-128, 127), scale


def quantize_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise a matrix to ternary by its absmean, which is summed in float64 and rounded once.

    Args:
        weight: float32 [out, in], the master weights.

    Returns:
        T, float32 [out, in] of -1, 0 and 1, and the weight scale w, float32 []. W is about w * T.
    """
    scale = weight.abs().mean(dtype=torch.float64).float().clamp(min=_MIN_MAGNITUDE)
    return torch.round(weight / scale).clamp(-1, 1), scale


class _BitLinear(nn.Module):
    """What all linears here have in common: sizes, and an RMSNorm of the input in models with `use_rms_norm`."""

    def __init__(self, in_features: int, out_features: int, weight: Tensor, norm_eps: float | None) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(weight, requires_grad=weight.dtype == torch.float32)
        self.input_norm = nn.Identity() if norm_eps is None else RMSNorm(in_features, norm_eps)

    def extra_repr(self) -> str:
        """Return the sizes, for print(module)."""
        return f"{self.in_features}, {self.out_features}"

    @staticmethod
    def embedding(vocab: int, hidden: int) -> Tensor:
        """Return initial values of the embedding of a model with such linears: random float32."""
        return 0.02 * torch.randn(vocab, hidden)


class BitLinear(_BitLinear):
    """A linear with ternary weights, to run: bfloat16 holds -1, 0 and 1, the scale is apart."""

    def __init__(self, in_features: int, out_features: int, norm_eps: float | None = None) -> None:
        """Create the linear without values: `BitNet.from_pretrained` fills it.

        Args:
            in_features: Number of columns.
            out_features: Number of rows.
            norm_eps: The epsilon of an RMSNorm of the input; None if the linear has none.
        """
        super().__init__(
            in_features, out_features, torch.empty(out_features, in_features, dtype=torch.bfloat16), norm_eps
        )
        self.weight_scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply float32 [..., in] by the matrix; return float32 [..., out]."""
        q, scale = quantize_activations(self.input_norm(x))
        # A product of bfloat16 tensors would round its result to bfloat16.
        return functional.linear(q, self.weight.to(q.dtype)) * (self.weight_scale / scale)

    @staticmethod
    def embedding(vocab: int, hidden: int) -> Tensor:
        """Return an embedding in bfloat16, without values."""
        return torch.empty(vocab, hidden, dtype=torch.bfloat16)


class TrainableBitLinear(_BitLinear):
    """A linear with master weights, to train. It computes what BitLinear computes with their ternary weights.

    Rounding has no useful gradient. So the backward pass takes it as the identity (straight-through estimator).
    """

    def __init__(self, in_features: int, out_features: int, norm_eps: float | None = None) -> None:
        """Create the linear with random master weights; the arguments are those of BitLinear."""
        super().__init__(in_features, out_features, 0.02 * torch.randn(out_features, in_features), norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply float32 [..., in] by the matrix; return float32 [..., out]."""
        x = self.input_norm(x)
        q, scale = quantize_activations(x.detach())
        ternary, weight_scale = quantize_weights(self.weight.detach())
        q = _StraightThrough.apply(q, x * scale)
        ternary = _StraightThrough.apply(ternary, self.weight / weight_scale)
        return functional.linear(q, ternary) * (weight_scale / scale)


class FloatLinear(_BitLinear):
    """An ordinary linear in the same place: nothing is quantised. For comparisons, and as a start of training."""

    def __init__(self, in_features: int, out_features: int, norm_eps: float | None = None) -> None:
        """Create the linear with random weights; the arguments are those of BitLinear."""
        super().__init__(in_features, out_features, 0.02 * torch.randn(out_features, in_features), norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply float32 [..., in] by the matrix; return float32 [..., out]."""
        return functional.linear(self.input_norm(x), self.weight)


class _StraightThrough(torch.autograd.Function):
    """Return the rounded values. The gradient goes to the values before rounding, unchanged."""

    @staticmethod
    def forward(ctx: Any, rounded: Tensor, values: Tensor) -> Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


type Linear = type[BitLinear | TrainableBitLinear | FloatLinear]
