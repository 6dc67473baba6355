"""Run a compiled program with the package ttnn, operation by operation.

TT-Forge's runtime does the same with its own tt-metal. This one takes the settings that decide the numbers, and leaves
out those that decide the speed: memory, sharding, and how a product is divided among cores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from tests.device.tensors import to_host
from tests.forge.ttnn_ir import Function, Operation, Tensor

DTYPES = {"f32": ttnn.float32, "bf16": ttnn.bfloat16, "si32": ttnn.int32, "bfp_bf4": ttnn.bfloat4_b}
FIDELITY = {"hifi4": ttnn.MathFidelity.HiFi4}
BINARY = frozenset(
    "add subtract multiply divide maximum minimum eq ne gt ge lt le logical_and logical_or".split()  # noqa: SIM905
)
UNARY = frozenset("abs floor sqrt rsqrt exp neg relu silu sigmoid reciprocal".split())  # noqa: SIM905
SKIPPED = frozenset(["deallocate", "get_device", "to_device", "from_device"])
"""Tensors are freed with their last reference. They are put on the device where a program begins, and stay there."""


class Interpreter:
    """Runs the functions of a module.

    Attributes:
        integer_products: Number of products with ternary weights so far.
        wrong_integers: Their elements that are not the integers that they should be.
    """

    def __init__(self, card: Card, functions: dict[str, Function]) -> None:
        self.integer_products = 0
        self.wrong_integers = 0
        self._card = card
        self._functions = functions
        self._cached: dict[tuple[str, tuple[str, ...]], list[Any]] = {}

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Run the entry function on the host's arrays. Return its results."""
        main = self._functions["main"]
        tensors = [self._put(array, kind) for array, kind in zip(inputs, main.inputs, strict=True)]
        return [to_host(result) for result in self._call("main", tensors)]

    def _call(self, name: str, arguments: Sequence[Any]) -> list[Any]:
        function = self._functions[name]
        values = dict(zip(function.arguments, arguments, strict=True))
        for operation in function.operations:
            operands = [values[name] for name in operation.operands if name in values]
            if operation.name == "deallocate":
                del values[operation.operands[0]]
            elif operation.name == "load_cached":
                key = (operation.settings, operation.operands)
                if key not in self._cached:
                    self._cached[key] = self._call(operation.settings, operands)
                values.update(zip(operation.results, self._cached[key], strict=True))
            elif operation.name in SKIPPED:
                values.update(zip(operation.results, operands, strict=False))
            else:
                values[operation.results[0]] = self._compute(operation, operands)
        return [values[name] for name in function.returns]

    def _compute(self, operation: Operation, operands: list[Any]) -> Any:
        name, settings, output = operation.name, operation.settings, operation.outputs[0]
        if name in BINARY:
            a, b = (
                _activated(operand, settings, f"input_tensor_{side}_activations")
                for operand, side in zip(operands, "ab", strict=True)
            )
            # The format of a comparison's result does not matter: it is 0 or 1.
            return _activated(getattr(ttnn, name)(a, b), settings, "(?<!_)activations")
        if name in UNARY:
            return getattr(ttnn, name)(operands[0])
        if name in ("max", "min", "mean", "sum"):
            (dim,) = _integers(settings, "dim_arg")
            keep = _flag(settings, "keep_dim")
            precision = self._precision(settings)
            return getattr(ttnn, name)(operands[0], dim=dim, keepdim=keep, compute_kernel_config=precision)
        if name == "matmul":
            return self._multiply(operation, *operands)
        make: dict[str, Callable[[], Any]] = {
            "full": lambda: self._put(np.full(output.shape, _number(settings, "fill_value")), output),
            "zeros": lambda: self._put(np.zeros(output.shape), output),
            "ones": lambda: self._put(np.ones(output.shape), output),
            "reshape": lambda: ttnn.reshape(operands[0], list(output.shape)),
            "permute": lambda: ttnn.permute(operands[0], _integers(settings, "permutation")),
            "slice_static": lambda: ttnn.slice(
                operands[0], *(_integers(settings, key) for key in ("begins", "ends", "step"))
            ),
            "concat": lambda: ttnn.concat(
                [_cast(operand, output) for operand in operands], dim=int(_number(settings, "dim"))
            ),
            "pad": lambda: ttnn.pad(
                operands[0], _pairs(_integers(settings, "padding")), value=_number(settings, "value")
            ),
            "repeat": lambda: ttnn.repeat(operands[0], _sizes(settings, "repeat_dims")),
            "typecast": lambda: _cast(operands[0], output),
            "to_layout": lambda: ttnn.to_layout(
                operands[0], ttnn.TILE_LAYOUT if output.tiled else ttnn.ROW_MAJOR_LAYOUT
            ),
            "where": lambda: ttnn.where(*operands),
            "softmax": lambda: ttnn.softmax(
                operands[0],
                dim=int(_number(settings, "dimension")),
                numeric_stable=_flag(settings, "numericStable"),
                compute_kernel_config=self._precision(settings),
            ),
            "rows_gather": lambda: self._gather(*operands, output),
        }
        return make[name]()

    def _multiply(self, operation: Operation, a: Any, b: Any) -> Any:
        settings = operation.settings
        transposed = {key: _flag(settings, key) for key in ("transpose_a", "transpose_b")}
        dtype = DTYPES[operation.outputs[0].dtype]
        result = ttnn.matmul(a, b, dtype=dtype, compute_kernel_config=self._precision(settings), **transposed)
        if b.dtype == ttnn.bfloat4_b:
            integers, weights = to_host(a).astype(np.float64), to_host(b).astype(np.float64)
            assert np.isin(weights, (-1, 0, 1)).all()
            assert (integers == np.rint(integers)).all()
            expected = integers @ (weights.T if transposed["transpose_b"] else weights)
            self.integer_products += 1
            self.wrong_integers += int((to_host(result) != expected).sum())
        return result

    def _gather(self, table: Any, rows: Any, output: Tensor) -> Any:
        """Pick rows of a table, on the host: the kernel for it is TT-Forge's own."""
        host = to_host(ttnn.to_layout(table, ttnn.TILE_LAYOUT))
        picked = host.reshape(-1, host.shape[-1])[rows.cpu().to_numpy().reshape(-1)]
        return self._put(picked.reshape(output.shape), output)

    def _precision(self, settings: str) -> Any:
        fidelity = re.search(r"math_fidelity = (\w+)", settings)
        return ttnn.init_device_compute_kernel_config(
            self._card.device.arch(),
            math_fidelity=FIDELITY[fidelity[1] if fidelity else "hifi4"],
            fp32_dest_acc_en=_flag(settings, "fp32_dest_acc_en"),
            math_approx_mode=False,
        )

    def _put(self, array: NDArray[Any], kind: Tensor) -> Any:
        array = array.astype(np.int32 if kind.dtype == "si32" else np.float32).reshape(kind.shape or (1,))
        put = self._card.tiles if kind.tiled else self._card.rows
        return put(array, DTYPES[kind.dtype])


def _cast(tensor: Any, kind: Tensor) -> Any:
    dtype = DTYPES[kind.dtype]
    return tensor if tensor.dtype == dtype else ttnn.typecast(tensor, dtype)


def _activated(tensor: Any, settings: str, key: str) -> Any:
    """Apply the functions that a setting lists, such as [#ttnn.unary_with_param<op_type = sqrt>]."""
    listed = re.search(rf"{key} = \[(.*?)\]", settings)
    for function in re.findall(r"op_type = (\w+)", listed[1] if listed else ""):
        assert function in UNARY, function
        tensor = getattr(ttnn, function)(tensor)
    return tensor


def _integers(settings: str, key: str) -> list[int]:
    """Read `key = [1 : i32, 2 : i32]` or `key = array<i64: 1, 2>`."""
    listed = re.search(rf"\b{key} = (?:\[|array<i\d+: )(.*?)[\]>]", settings)
    assert listed, (key, settings)
    return [int(number.split(" : ")[0]) for number in listed[1].split(", ")]


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _sizes(settings: str, key: str) -> list[int]:
    """Read `key = #ttnn.shape<1x2x3>`."""
    shape = re.search(rf"\b{key} = #ttnn\.shape<(.*?)>", settings)
    assert shape, (key, settings)
    return [int(size) for size in shape[1].split("x")]


def _number(settings: str, key: str) -> float:
    """Read `key = 1.0 : f32`; the bits of a float may stand for it, as in 0xFF800000."""
    number = re.search(rf"\b{key} = (\S+)", settings)
    assert number, (key, settings)
    if number[1].startswith("0x"):
        return float(np.array(int(number[1], 16), np.uint32).view(np.float32))
    return float(number[1])


def _flag(settings: str, key: str) -> bool:
    return f"{key} = true" in settings
