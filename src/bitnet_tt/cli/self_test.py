"""`bitnet-tt self-test`: does this machine compute right?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, load_model
from bitnet_tt.cli.output import print_table
from bitnet_tt.cli.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bitnet_tt.model import BitNetModel
    from bitnet_tt.reference.compare import Agreement
    from bitnet_tt.weights import ModelWeights

_TEXT = "Once upon a time, there was a little fox who wanted to count to one hundred. One day she asked the old owl:"
_MAX_TOKENS = 32
_CHUNK = 5

SLACK = 4
"""How many times as much as the reference itself, after last-bit changes, a correct implementation may deviate."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What agreement with the reference is asked for.

    Attributes:
        correlation: Least correlation.
        mean_kl: Greatest mean KL divergence.
        clear_top1: Least share of equal first choices where the margin is clear.
    """

    correlation: float
    mean_kl: float
    clear_top1: float

    @classmethod
    def of_contract(cls, sensitivity: Agreement | None, *, fast: bool = False) -> Bars:
        """The bars of the numerics contract, lowered for a model so deep or strange that it amplifies rounding.

        Args:
            sensitivity: How the reference agrees with itself after last-bit changes. Another correct implementation
                makes such changes everywhere, and may deviate a few times as much.
            fast: Whether it is a Tenstorrent card at precision `fast`, of which less is promised.
        """
        from bitnet_tt.reference.compare import MAX_MEAN_KL, MIN_CORRELATION, MIN_FAST_CORRELATION

        correlation = MIN_FAST_CORRELATION if fast else MIN_CORRELATION
        if sensitivity is None:
            return cls(correlation, MAX_MEAN_KL, 1.0)
        return cls(
            correlation=min(correlation, 1 - SLACK * (1 - sensitivity.correlation)),
            mean_kl=max(MAX_MEAN_KL, SLACK * sensitivity.mean_kl),
            clear_top1=1 - SLACK * (1 - sensitivity.clear_top1),
        )

    def met(self, agreement: Agreement) -> dict[str, bool]:
        """Which bars an agreement meets."""
        return {
            "correlation": agreement.correlation >= self.correlation,
            "mean_kl": agreement.mean_kl <= self.mean_kl,
            "clear_top1": agreement.clear_top1 >= self.clear_top1,
        }


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of running the CPU backend that must not change a bit."""

    isa: str
    threads: int
    chunk: int


def self_test(
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Test whether this machine computes a model right.

    Runs a fixed prompt on the device and in plain NumPy and compares all logits.
    On the CPU, also checks that they are the same to the last bit with every
    instruction set and number of threads. The exit code is 1 if anything is wrong.

    Examples:
        bitnet-tt self-test
        bitnet-tt self-test microsoft/bitnet-b1.58-2B-4T --json
    """
    from bitnet_tt.reference import forward
    from bitnet_tt.reference.compare import compare_logits

    loaded = load_model(model, device, hub)
    token_ids = loaded.tokenizer.encode(_TEXT)[:_MAX_TOKENS]
    variants = list_variants() if loaded.backend.description.startswith("cpu") else []
    with progress_bar("Testing", patience=0) as progress:
        progress(0, len(variants) + 1)
        weights = loaded.checkpoint.load_weights()
        logits = loaded.logits(token_ids)
        reference = forward(loaded.config, weights, token_ids)
        agreement = compare_logits(logits, reference)
        sensitivity = None
        if not agreement.equal:
            nudged = forward(loaded.config, nudge(weights), token_ids)
            sensitivity = compare_logits(nudged, reference)
        identical = []
        for index, variant in enumerate(variants):
            progress(index + 1, len(variants) + 1)
            identical.append(bool((run_variant(loaded, weights, token_ids, variant) == logits).all()))
    bars = Bars.of_contract(sensitivity, fast=device.device == "tt" and device.precision == "fast")
    passed = all(bars.met(agreement).values()) and all(identical)
    if as_json:
        report = {
            "model": model,
            "device": loaded.backend.description,
            "tokens": len(token_ids),
            **asdict(agreement),
            "bars": asdict(bars),
            "sensitivity": asdict(sensitivity) if sensitivity else None,
            "variants": [asdict(v) | {"identical": same} for v, same in zip(variants, identical, strict=True)],
            "passed": passed,
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(f"{model} on {loaded.backend.description}, {len(token_ids)} tokens, against NumPy:\n")
        _print(agreement, bars, variants, identical)
        if sensitivity:
            typer.echo(f"\nIn NumPy itself, last-bit changes lower the correlation to {sensitivity.correlation:.5f}.")
        typer.echo(f"\n{'PASS: this machine computes right.' if passed else 'FAIL: this machine computes wrong.'}")
    if not passed:
        raise typer.Exit(1)


def nudge(weights: ModelWeights) -> ModelWeights:
    """The same weights, but for the last bit of the gains of each layer's first norm, up and down in turn."""
    import numpy as np

    def nudged(gains: NDArray[np.float32]) -> NDArray[np.float32]:
        towards = np.where(np.arange(gains.size) % 2, np.float32(np.inf), np.float32(-np.inf))
        return np.nextafter(gains, towards)

    layers = tuple(replace(layer, input_layernorm=nudged(layer.input_layernorm)) for layer in weights.layers)
    return replace(weights, layers=layers)


def list_variants() -> list[Variant]:
    """Every instruction set with one thread and with several, and the prompt cut into chunks."""
    from bitnet_tt.backends.cpu.backend import available_isas
    from bitnet_tt.backends.cpu.host import physical_cores

    threads = sorted({1, 2, physical_cores()})
    isas = list(available_isas())
    whole = [Variant(isa, count, _MAX_TOKENS) for isa in isas for count in threads]
    return [*whole, Variant(isas[0], threads[-1], _CHUNK)]


def run_variant(
    model: BitNetModel, weights: ModelWeights, token_ids: list[int], variant: Variant
) -> NDArray[np.float32]:
    """Logits [tokens, vocab] of one variant."""
    import numpy as np

    from bitnet_tt.backends.options import BackendOptions
    from bitnet_tt.backends.select import create_backend
    from bitnet_tt.engine import Engine

    length = len(token_ids) + 1
    backend = create_backend(
        model.config, weights, BackendOptions("cpu", variant.threads, variant.isa), context_length=length
    )
    engine = Engine(
        backend,
        vocab_size=model.config.vocab_size,
        context_length=length,
        max_batch_size=1,
        max_batch_tokens=variant.chunk,
    )
    return np.concatenate([chunk.copy() for _, chunk in engine.score(token_ids)])


def _print(agreement: Agreement, bars: Bars, variants: list[Variant], identical: list[bool]) -> None:
    correlation, mean_kl, clear_top1 = bars.met(agreement).values()
    rows = [
        ("correlation", f"{agreement.correlation:.7f}", f"at least {bars.correlation:.4f}", correlation),
        ("mean KL", f"{agreement.mean_kl:.2e}", f"at most {bars.mean_kl:.3f}", mean_kl),
        ("same clear first choice", f"{agreement.clear_top1:.1%}", f"at least {bars.clear_top1:.0%}", clear_top1),
    ]
    for variant, same in zip(variants, identical, strict=True):
        name = f"{variant.isa}, {variant.threads} thread{'s' * (variant.threads > 1)}"
        name += ", chunked" if variant.chunk < _MAX_TOKENS else ""
        rows.append((name, "identical" if same else "differs", "to the last bit", same))
    print_table(["", "", "", ""], [(name, value, bar, "ok" if ok else "WRONG") for name, value, bar, ok in rows])
