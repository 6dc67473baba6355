"""How closely a model's steps on a device follow the NumPy reference: the logits, and every quantised integer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt import reference
from bitnet_tt.backends.options import Precision
from bitnet_tt.config import ModelConfig
from bitnet_tt.reference.compare import Agreement, compare_logits
from bitnet_tt.weights import ModelWeights
from tests.device.paged import PagedFeeder, opened


@dataclass(frozen=True, slots=True)
class Part:
    """A prompt's rows, or those of decode steps.

    Attributes:
        logits: How they agree with the reference's.
        first_product: Share of quantised activations that equal the reference's, before the first product.
        first_layer: The same in the first layer. One that differs, by a last bit of a norm, moves all that its token
            computes from then on.
        every_layer: The same in all layers.
    """

    logits: Agreement
    first_product: float
    first_layer: float
    every_layer: float


def follow(
    config: ModelConfig,
    weights: ModelWeights,
    token_ids: Sequence[int],
    decoded: int,
    precision: Precision,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Part]:
    """Compute all but the last `decoded` tokens as a prompt and those one by one.

    Returns:
        How `prompt`, `decode` and `all` of it compare. Decode steps are few, and one integer that differs at a token's
        start moves the rest of it; so it is `all` whose shares say something.
    """
    from bitnet_tt.backends.tt.model.bitlinear import BitLinear
    from bitnet_tt.backends.tt.ops.norm_quantize.op import Quantized
    from tests.device.tensors import to_host

    prompt = len(token_ids) - decoded
    expected, theirs = reference_integers(config, weights, token_ids, monkeypatch)
    ours: list[NDArray[np.float32]] = []
    call = BitLinear.__call__

    def record(linear: BitLinear, x: Quantized) -> object:
        ours.append(to_host(x.integers)[0, 0])
        return call(linear, x)

    monkeypatch.setattr(BitLinear, "__call__", record)
    with opened(config, weights, precision) as backend:
        feeder = PagedFeeder(backend, sequences=1, blocks_each=2)
        feeder.feed({0: token_ids[:prompt]})
        for token in token_ids[prompt:]:
            feeder.feed({0: [token]})
    logits = np.stack(feeder.logits[0])
    # A step quantises as often as the reference does; its rows beyond its tokens are padding.
    counts, per_step = [prompt] + [1] * decoded, len(theirs)
    assert len(ours) == per_step * len(counts)
    quantized = [
        np.concatenate([rows[:count] for rows, count in zip(ours[index::per_step], counts, strict=True)])
        for index in range(per_step)
    ]
    equal = [mine == other for mine, other in zip(quantized, theirs, strict=True)]

    def part(rows: slice) -> Part:
        shares = [matrix[rows].ravel() for matrix in equal]
        in_a_layer = shares[: per_step // config.num_hidden_layers]
        means = (float(np.concatenate(some).mean()) for some in (shares[:1], in_a_layer, shares))
        return Part(compare_logits(logits[rows], expected[rows]), *means)

    return {"prompt": part(slice(prompt)), "decode": part(slice(prompt, None)), "all": part(slice(None))}


def reference_integers(
    config: ModelConfig, weights: ModelWeights, token_ids: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[NDArray[np.float32], list[NDArray[np.int8]]]:
    """The reference's logits, and its quantised activations [tokens, features] before each product."""
    integers: list[NDArray[np.int8]] = []
    quantize = reference.decoder.quantize_activations

    def record(x: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        quantized, scale = quantize(x)
        integers.append(quantized)
        return quantized, scale

    with monkeypatch.context() as patch:
        patch.setattr(reference.decoder, "quantize_activations", record)
        return reference.forward(config, weights, token_ids), integers
