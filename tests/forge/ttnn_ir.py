"""Read a program in TTNN, the last dialect of TT-Forge's compiler: each operation is a call of ttnn.

The text has one operation on a line:

    %109 = "ttnn.matmul"(%108, %29) <{transpose_a = false}> : (tensor<66x256xf32, #ttnn_layout40>, ...) -> tensor<...>
    %1:2 = ttcore.load_cached(@main_const_eval_38, [%arg27]) : (tensor<1xf32, #ttnn_layout5>) -> (tensor<...>, ...)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LAYOUT = re.compile(r"^(#ttnn_layout\d*) = .*memref<(.*?), #(\w+)>", re.MULTILINE)
_FUNCTION = re.compile(r"^ *func\.func \w+ @(\w+)\((.*)$")
_ARGUMENT = re.compile(r"(%arg\d+): (tensor<.*?)(?= \{| loc)(.*?)(?=%arg|$)")
_LABEL = re.compile(r'ttir\.name = "(.*?)"')
_OPERATION = re.compile(r'^ *(?:(%\w+)(?::(\d+))? = )?(?:"ttnn\.(\w+)"|ttcore\.(load_cached)|(?:func\.)?(call))(.*)$')
_TENSOR = re.compile(r"tensor<((?:\d+x)*)(?:!ttcore\.tile<32x32, )?(\w+)>?(?:, (#ttnn_layout\d*))?>")
_VALUE = re.compile(r"%\w+(?:#\d+)?")


@dataclass(frozen=True, slots=True)
class Tensor:
    """The type of a value.

    Attributes:
        shape: Its dimensions.
        dtype: Its format: f32, bf16, si32, bfp_bf4, ...
        memory: dram, l1, or system_memory (of the host).
        tiled: Whether it lies in tiles of 32 x 32.
    """

    shape: tuple[int, ...]
    dtype: str
    memory: str
    tiled: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """A call of ttnn.

    Attributes:
        name: The name without its dialect. `load_cached` calls another function once, `call` calls one every time.
        operands: Names of the values that it takes.
        inputs: Their types.
        results: Names of the values that it gives.
        outputs: Their types.
        settings: Its attributes, as text; the function's name for `load_cached` and `call`.
    """

    name: str
    operands: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    results: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    settings: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function.

    Attributes:
        arguments: The names of its arguments.
        inputs: Their types.
        labels: What the entry function's arguments are called in the model, where it says so.
        operations: In their order.
        returns: The values that it returns.
    """

    arguments: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    labels: dict[str, str]
    operations: tuple[Operation, ...]
    returns: tuple[str, ...]


def read(text: str) -> dict[str, Function]:
    """Read the functions of a module. The entry function is `main`."""
    layouts = {name: (memref, memory) for name, memref, memory in _LAYOUT.findall(text)}
    functions: dict[str, Function] = {}
    name, header, operations = "", "", list[Operation]()
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            name, header = match.groups()
            operations = []
        elif name and line.lstrip().startswith("return"):
            functions[name] = _function(header, operations, line, layouts)
            name = ""
        elif name and (match := _OPERATION.match(line)):
            operations.append(_operation(match, layouts))
    return functions


def _function(header: str, operations: list[Operation], last: str, layouts: dict[str, tuple[str, str]]) -> Function:
    arguments = _ARGUMENT.findall(header)
    labels = {name: _LABEL.search(rest) for name, _, rest in arguments}
    return Function(
        arguments=tuple(name for name, _, _ in arguments),
        inputs=tuple(tensor for _, kind, _ in arguments for tensor in _tensors(kind, layouts)),
        labels={name: label[1] for name, label in labels.items() if label},
        operations=tuple(operations),
        returns=tuple(_VALUE.findall(last.split(" : ")[0])),
    )


def _operation(match: re.Match[str], layouts: dict[str, tuple[str, str]]) -> Operation:
    result, count, ttnn, cached, called, rest = match.groups()
    call, _, types = rest.partition(" : (")
    inputs, _, outputs = types.rpartition(" -> ")
    operands, _, settings = call.partition(" <{")
    results = () if result is None else (result,)
    if count is not None:
        results = tuple(f"{result}#{index}" for index in range(int(count)))
    return Operation(
        name=ttnn or cached or called,
        operands=tuple(_VALUE.findall(operands)),
        inputs=_tensors(inputs, layouts),
        results=results,
        outputs=_tensors(outputs, layouts),
        settings=settings if ttnn else "".join(re.findall(r"@(\w+)", operands)),
    )


def _tensors(types: str, layouts: dict[str, tuple[str, str]]) -> tuple[Tensor, ...]:
    found = []
    for sizes, dtype, layout in _TENSOR.findall(types):
        memref, memory = layouts.get(layout, ("", ""))
        shape = tuple(int(size) for size in sizes.split("x") if size)
        found.append(Tensor(shape, dtype, memory, "!ttcore.tile" in memref))
    return tuple(found)
