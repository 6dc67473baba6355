"""TT-Forge's compiler takes the exported module for Blackhole, and keeps what the numerics need.

It runs without a card, in an environment of its own (`make forge`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import golden_checkpoints as golden
from tests.forge.toolchain import Toolchain, needs_compiler
from tests.forge.ttnn_ir import Function, read

pytestmark = [pytest.mark.forge, needs_compiler]

MODELS = [*golden.NAMES, "demo", pytest.param("2b4t", marks=pytest.mark.slow)]
PROGRAMS = ("prefill", "step")
PREPARED = ("load_cached", "deallocate", "get_device")
"""Not operations of a step: weights are prepared once, and memory is freed."""


@pytest.fixture(scope="module", params=MODELS)
def compiled(request: pytest.FixtureRequest, toolchain: Toolchain) -> Path:
    return toolchain.compile(request.param)


@pytest.fixture(params=PROGRAMS)
def main(request: pytest.FixtureRequest, compiled: Path) -> Function:
    return read((compiled / f"{request.param}.mlir").read_text())["main"]


@pytest.fixture
def names(compiled: Path, main: Function) -> dict[str, str]:
    """The names of weights by the names of the arguments."""
    weights = json.loads((compiled / "weights.json").read_text())
    return dict(zip(main.arguments, weights, strict=False))


def test_ternary_weights_and_no_others_are_tiles_of_4_bits(main: Function, names: dict[str, str]) -> None:
    prepared = [
        names[argument]
        for operation in main.operations
        if operation.name == "load_cached" and any(output.dtype == "bfp_bf4" for output in operation.outputs)
        for argument in operation.operands
    ]
    ternary = [name for name in names.values() if f"{name}_scale" in names.values()]
    assert len(ternary) % 7 == 0
    assert sorted(prepared) == sorted(ternary)
    made = {output.dtype for one in main.operations if one.name not in PREPARED for output in one.outputs}
    assert not any(dtype.startswith("bfp") for dtype in made)


def test_products_with_them_are_sums_in_float32(main: Function, names: dict[str, str]) -> None:
    products = [one for one in main.operations if any(operand.dtype == "bfp_bf4" for operand in one.inputs)]
    products = [one for one in products if one.name != "deallocate"]
    layers = sum(name.endswith("down_proj.weight") for name in names.values())
    # The compiler joins q, k and v, and gate and up.
    assert [one.name for one in products] == ["matmul"] * 4 * layers
    for product in products:
        assert product.inputs[0].dtype == product.outputs[0].dtype == "f32"
        assert "fp32_dest_acc_en = true" in product.settings
        assert "math_fidelity = hifi4" in product.settings


def test_nothing_runs_on_the_host(main: Function) -> None:
    """The compiler moves some operations to the host: dynamic slices, for instance."""
    for operation in main.operations:
        assert operation.name not in ("call", "to_device", "from_device"), operation
        if operation.name != "load_cached":
            assert all(output.memory in ("dram", "l1") for output in operation.outputs), operation


def test_operations_of_a_layer(main: Function, names: dict[str, str]) -> None:
    """A change of the module must not make the compiler expand something, such as a product of integers."""
    layers = sum(name.endswith("down_proj.weight") for name in names.values())
    operations = [one for one in main.operations if one.name not in PREPARED]
    print(f"{len(operations)} operations, {layers} layers")
    assert len(operations) <= 60 + 220 * layers
