"""Measure how closely a model on a device follows the NumPy reference: its logits, and every quantised activation."""

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
    """The agreement of some rows with the reference: the rows of a prompt, or of decode steps.

    Attributes:
        logits: Agreement of the logits.
        first_product: Share of the prompt's quantised activations before the first product that equal the reference's.
            The programs for few rows keep theirs to themselves; other tests compare their bits with those of prompts.
        first_layer: The same share for the whole first layer. One activation may differ because a norm differs in its
            last bit. It then changes everything that its token computes afterwards.
        every_layer: The same share for all layers.
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
    """Compute a text on the device: its last `decoded` tokens one by one, all before them as a prompt.

    Returns:
        The agreement of the rows of `prompt`, `decode` and `all`.
    """
    from bitnet_tt.backends.tt.model.bitlinear import BitLinear
    from bitnet_tt.backends.tt.ops.common.rows import Quantized
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
    # A step quantises as often as the reference does. The rows behind its tokens are padding.
    assert len(ours) == len(theirs)
    equal = [(mine[:prompt] == other[:prompt]).ravel() for mine, other in zip(ours, theirs, strict=True)]
    in_a_layer = equal[: len(equal) // config.num_hidden_layers]
    shares = [float(np.concatenate(some).mean()) for some in (equal[:1], in_a_layer, equal)]
    rows = {"prompt": slice(prompt), "decode": slice(prompt, None), "all": slice(None)}
    return {name: Part(compare_logits(logits[part], expected[part]), *shares) for name, part in rows.items()}


def reference_integers(
    config: ModelConfig, weights: ModelWeights, token_ids: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[NDArray[np.float32], list[NDArray[np.int8]]]:
    """Return the reference's logits, and its quantised activations [tokens, features] before each product."""
    integers: list[NDArray[np.int8]] = []
    quantize = reference.decoder.quantize_activations

    def record(x: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        quantized, scale = quantize(x)
        integers.append(quantized)
        return quantized, scale

    with monkeypatch.context() as patch:
        patch.setattr(reference.decoder, "quantize_activations", record)
        return reference.forward(config, weights, token_ids), integers
