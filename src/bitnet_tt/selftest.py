"""Test whether this machine computes a model right: all logits of a fixed prompt against NumPy.

On the CPU, logits must also have the same bits with every instruction set, number of threads and chunk size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.cpu.backend import available_isas
from bitnet_tt.backends.cpu.host import physical_cores
from bitnet_tt.backends.options import BackendOptions
from bitnet_tt.backends.select import create_backend
from bitnet_tt.engine import Engine
from bitnet_tt.errors import DeviceError
from bitnet_tt.model import BitNetModel
from bitnet_tt.reference import float_linear, forward
from bitnet_tt.reference.compare import CONTRACT, FAST, Agreement, Bars, compare_logits
from bitnet_tt.weights import ModelWeights

TEXT = "Once upon a time, there was a little fox who wanted to count to one hundred. One day she asked the old owl:"
MAX_TOKENS = 32
"""The prompt is at most this many tokens of `TEXT`: the NumPy reference is slow."""

_START_TOKENS = 8
"""Tokens that are compared when a server starts: enough to see a broken device, and quick."""

_SMALL_CHUNK = 5
"""Maximum tokens of a step in the variant that splits the prompt. It is odd, so that chunks fill no vector register."""

SLACK = 4
"""A correct implementation may deviate this many times as far as the reference does after last-bit changes."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run the CPU backend. No variant may change a bit of the logits.

    Attributes:
        isa: The instruction set.
        threads: The maximum number of threads of a step.
        chunk: The maximum number of tokens of a step.
    """

    isa: str
    threads: int
    chunk: int


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """The outcome of a self-test.

    Attributes:
        tokens: Length of the prompt.
        agreement: How closely the device follows NumPy.
        bars: The limits that were asked for.
        torch: How closely the device follows the PyTorch module; None if it was not asked for.
        sensitivity: How closely NumPy follows itself after last-bit changes; None if that was not needed.
        variants: Each variant of the CPU backend, and whether its logits have the same bits. Empty on other devices.
        float_activations: How closely NumPy follows itself with activations that are not quantised, for weights with
            group scales: their authors quantise none. None for other models.
    """

    tokens: int
    agreement: Agreement
    bars: Bars
    torch: Agreement | None
    sensitivity: Agreement | None
    variants: dict[Variant, bool]
    float_activations: Agreement | None = None

    @property
    def passed(self) -> bool:
        """Whether the device meets the bars, and all variants have the same bits."""
        agreements = [self.agreement, *([self.torch] if self.torch else [])]
        return all(one.meets(self.bars) for one in agreements) and all(self.variants.values())


def run_self_test(
    model: BitNetModel,
    progress: Callable[[int, int], None] | None = None,
    *,
    torch_logits: Callable[[list[int]], NDArray[np.float32]] | None = None,
) -> SelfTestResult:
    """Compute a fixed prompt on the model's device and in NumPy, and compare all logits.

    Args:
        model: A model on its device. Other threads may use it at the same time.
        progress: Called with (done, total) before each of the comparisons.
        torch_logits: Returns the logits of token ids as PyTorch computes them, float32 [tokens, vocab], to compare with
            them too.

    Raises:
        DeviceError: The model is closed.
    """
    on_cpu = model.options.resolved_device == "cpu"
    variants = list_variants() if on_cpu else []
    report = progress or (lambda done, total: None)
    report(0, len(variants) + 1)
    token_ids = model.tokenizer.encode(TEXT)[:MAX_TOKENS]
    weights = model.checkpoint.load_weights()
    logits = model.logits(token_ids)
    reference = forward(model.config, weights, token_ids)
    agreement = compare_logits(logits, reference)
    bars = CONTRACT if on_cpu or model.options.precision == "exact" else FAST
    torch = compare_logits(logits, torch_logits(token_ids)) if torch_logits else None
    sensitivity = None
    if not (agreement.meets(bars) and (torch is None or torch.meets(bars))):
        sensitivity = compare_logits(forward(model.config, nudge(weights), token_ids), reference)
        bars = relax(bars, sensitivity)
    float_activations = None
    if model.config.quantization.group_size is not None:
        floats = forward(model.config, weights, token_ids, grouped=float_linear)
        float_activations = compare_logits(reference, floats)
    identical = {}
    for index, variant in enumerate(variants):
        report(index + 1, len(variants) + 1)
        identical[variant] = bool((run_variant(model, weights, token_ids, variant) == logits).all())
    return SelfTestResult(len(token_ids), agreement, bars, torch, sensitivity, identical, float_activations)


def check_device(model: BitNetModel) -> None:
    """Compare the logits of a few tokens with the CPU's, so that a device that computes wrong serves nobody.

    If they are too far apart, `run_self_test` decides: a model may amplify rounding. On the CPU nothing is checked.

    Raises:
        DeviceError: The device computes wrong, or the model is closed.
    """
    if model.options.resolved_device == "cpu":
        return
    token_ids = model.tokenizer.encode(TEXT)[:_START_TOKENS]
    on_cpu = Variant(available_isas()[0], physical_cores(), MAX_TOKENS)
    expected = run_variant(model, model.checkpoint.load_weights(), token_ids, on_cpu)
    bars = CONTRACT if model.options.precision == "exact" else FAST
    if compare_logits(model.logits(token_ids), expected).meets(bars):
        return
    result = run_self_test(model)
    if not result.passed:
        raise DeviceError(
            f"{model.backend.description} computes wrong: the correlation of its logits with NumPy's is "
            f"{result.agreement.correlation:.4f}, and must be {result.bars.correlation:.4f}; reset the card "
            "(tt-smi -r), and run bitnet-tt self-test --device tt"
        )


def nudge(weights: ModelWeights) -> ModelWeights:
    """Return the weights with every gain of each layer's first norm one float32 step higher or lower, in turn."""

    def nudged(gains: NDArray[np.float32]) -> NDArray[np.float32]:
        towards = np.where(np.arange(gains.size) % 2, np.float32(np.inf), np.float32(-np.inf))
        return np.nextafter(gains, towards)

    layers = tuple(replace(layer, input_layernorm=nudged(layer.input_layernorm)) for layer in weights.layers)
    return replace(weights, layers=layers)


def relax(bars: Bars, sensitivity: Agreement) -> Bars:
    """Lower the bars for a model so deep, or so random, that it amplifies rounding. They are never raised.

    Args:
        bars: The promise for ordinary models.
        sensitivity: How the reference agrees with itself after `nudge`, which changes one norm of each layer. A correct
            implementation rounds differently in every product. So it may deviate up to `SLACK` times as far.
    """
    return Bars(
        correlation=min(bars.correlation, 1 - SLACK * (1 - sensitivity.correlation)),
        mean_kl=max(bars.mean_kl, SLACK * sensitivity.mean_kl),
        clear_top1=min(bars.clear_top1, 1 - SLACK * (1 - sensitivity.clear_top1)),
    )


def list_variants() -> list[Variant]:
    """Return every instruction set with one thread and with several, and one variant that splits the prompt."""
    threads = sorted({1, 2, physical_cores()})
    isas = available_isas()
    whole = [Variant(isa, count, MAX_TOKENS) for isa in isas for count in threads]
    return [*whole, Variant(isas[0], threads[-1], _SMALL_CHUNK)]


def run_variant(
    model: BitNetModel, weights: ModelWeights, token_ids: list[int], variant: Variant
) -> NDArray[np.float32]:
    """Return the logits of every position in one variant, float32 [tokens, vocab]."""
    length = len(token_ids) + 1
    options = BackendOptions("cpu", variant.threads, variant.isa)
    backend = create_backend(model.config, weights, options, context_length=length)
    try:
        engine = Engine(
            backend,
            vocab_size=model.config.vocab_size,
            context_length=length,
            max_batch_size=1,
            max_batch_tokens=variant.chunk,
        )
    except BaseException:
        backend.close()
        raise
    try:
        return engine.logits(token_ids)
    finally:
        engine.close()
        engine.join()
