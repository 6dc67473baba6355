"""`bitnet-tt self-test`: test whether this machine computes a model right."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, load_model
from bitnet_tt.cli.output import print_table
from bitnet_tt.cli.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bitnet_tt.model import BitNetModel
    from bitnet_tt.selftest import SelfTestResult


def self_test(
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    against_torch: Annotated[
        bool, typer.Option("--against-torch", help="Compare with the PyTorch module too; needs the extra torch.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Test whether this machine computes a model right.

    Runs a fixed prompt on the device and in plain NumPy and compares all logits.
    On the CPU, also checks that every instruction set and number of threads gives
    the same logits to the last bit. The exit code is 1 if anything is wrong.

    Examples:
        bitnet-tt self-test
        bitnet-tt self-test microsoft/bitnet-b1.58-2B-4T --json
        bitnet-tt self-test ./my-model --against-torch
    """
    from bitnet_tt.selftest import run_self_test

    if against_torch and device.adapter is not None:
        raise typer.BadParameter("--against-torch takes no --adapter: the PyTorch module runs none")
    with load_model(model, device, hub) as loaded:
        torch_logits = _load_torch(loaded) if against_torch else None
        with progress_bar("Testing", patience=0) as progress:
            result = run_self_test(loaded, progress, torch_logits=torch_logits)
        description = loaded.backend.description
    if as_json:
        typer.echo(json.dumps({"model": model, "device": description} | _as_dict(result), indent=2))
    else:
        typer.echo(f"{model} on {description}, {result.tokens} tokens, against NumPy:\n")
        _print(result)
    if not result.passed:
        raise typer.Exit(1)


def _load_torch(loaded: BitNetModel) -> Callable[[list[int]], NDArray[np.float32]]:
    """Load the same files into the PyTorch module; return a function that computes logits with it."""
    from bitnet_tt.pytorch import BitNet, logits

    checkpoint = loaded.checkpoint
    return partial(logits, BitNet.from_pretrained(checkpoint.path, masters=checkpoint.masters))


def _as_dict(result: SelfTestResult) -> dict[str, Any]:
    return {
        "tokens": result.tokens,
        **asdict(result.agreement),
        "bars": asdict(result.bars),
        "torch": asdict(result.torch) if result.torch else None,
        "sensitivity": asdict(result.sensitivity) if result.sensitivity else None,
        "float_activations": asdict(result.float_activations) if result.float_activations else None,
        "variants": [asdict(variant) | {"identical": same} for variant, same in result.variants.items()],
        "passed": result.passed,
    }


def _print(result: SelfTestResult) -> None:
    agreement, bars = result.agreement, result.bars
    met = bars.met_by(agreement)
    rows = [
        ("correlation", f"{agreement.correlation:.7f}", f"at least {bars.correlation:.4f}", met["correlation"]),
        ("mean KL", f"{agreement.mean_kl:.2e}", f"at most {bars.mean_kl:.3f}", met["mean_kl"]),
        (
            "same clear first choice",
            f"{agreement.clear_top1:.1%}",
            f"at least {bars.clear_top1:.0%}",
            met["clear_top1"],
        ),
    ]
    if result.torch:
        correlation = result.torch.correlation
        bar = f"at least {bars.correlation:.4f}"
        rows.append(("correlation with PyTorch", f"{correlation:.7f}", bar, result.torch.meets(bars)))
    for variant, same in result.variants.items():
        name = f"{variant.isa}, {variant.threads} thread{'s' * (variant.threads > 1)}"
        name += ", chunked" if variant.chunk < result.tokens else ""
        rows.append((name, "identical" if same else "differs", "to the last bit", same))
    print_table(["", "", "", ""], [(name, value, bar, "ok" if ok else "WRONG") for name, value, bar, ok in rows])
    if result.sensitivity:
        correlation = result.sensitivity.correlation
        typer.echo(f"\nIn NumPy itself, last-bit changes lower the correlation to {correlation:.5f}.")
    if result.float_activations:
        floats = result.float_activations
        text = (
            "The model's authors quantise no activations. In NumPy, quantising them gives logits with a correlation of "
            f"{floats.correlation:.5f}, a mean KL of {floats.mean_kl:.1e}, and {floats.clear_top1:.1%} of the clear "
            "first choices."
        )
        typer.echo(f"\n{textwrap.fill(text, 80)}")
    typer.echo(f"\n{'PASS: this machine computes right.' if result.passed else 'FAIL: this machine computes wrong.'}")
