"""Compile the programs of a model for Blackhole with TT-Forge's compiler. No device is needed.

python -m tests.forge.compile_model MODEL TARGET

MODEL is the name of a golden checkpoint, demo, or 2b4t, whose weights have no values. TARGET becomes a folder with both
programs in the compiler's last dialect, `prefill.mlir` and `step.mlir`; the names of their first arguments,
`weights.json`; and the values, `weights.npz`, but for 2b4t.

It runs in the environment of `make forge`, with the variables of `tests.forge.toolchain`. Nothing here may import ttnn:
the compiler contains a tt-metal of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jax._src.compiler import get_compile_options
from jax._src.interpreters import mlir
from jax.extend.backend import get_backend
from jaxlib import _jax
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import func, stablehlo

from bitnet_tt.config import ModelConfig
from bitnet_tt.pytorch import BitNet
from bitnet_tt.pytorch.export import example_inputs, parameters
from bitnet_tt.pytorch.stablehlo import to_stablehlo
from tests import golden_checkpoints as golden
from tests.test_config import BITNET_2B4T

OPTIONS = {
    "optimization_level": "0",  # higher levels fuse attention, which costs accuracy
    "math_fidelity": "hifi4",
    # Parameters become tiles of 4-bit floats with shared exponents: they hold -1, 0 and 1 exactly.
    "experimental_weight_dtype": "bfp_bf4",
}


def main(name: str, target: Path) -> None:
    """Compile both programs of a model."""
    target.mkdir(parents=True)
    if name == "2b4t":
        module = BitNet(ModelConfig.from_dict(BITNET_2B4T), batch=1, max_length=1024)
        prompt_length = 128
    else:
        path = name if name == "demo" else golden.FOLDER / name
        module = BitNet.from_pretrained(path, batch=2, max_length=64)
        prompt_length = 33
        np.savez(target / "weights.npz", **{key: tensor.float().numpy() for key, tensor in parameters(module).items()})
    for program, inputs in example_inputs(module, prompt_length).items():
        with torch.no_grad():
            exported = to_stablehlo(torch.export.export(module, inputs, strict=False))
        (target / "weights.json").write_text(json.dumps(exported.parameters))
        compile_for_blackhole(with_marks(exported.bytecode, exported.parameters), target / program)
        (dialect,) = (target / program / "irs").glob("ttnn_program_*.mlir")
        dialect.rename(target / f"{program}.mlir")


def compile_for_blackhole(module: bytes, target: Path) -> None:
    """Compile StableHLO. The compiler writes the program in each of its dialects below `target`."""
    client = get_backend("tt")
    options = OPTIONS | {"export_path": str(target), "export_model_name": "program"}
    settings = get_compile_options(num_replicas=1, num_partitions=1, env_options_overrides=options)
    client.compile_and_load(module, _jax.DeviceList(tuple(client.devices()[:1])), settings)


def with_marks(bytecode: bytes, weights: tuple[str, ...]) -> bytes:
    """Return the module behind a new entry function, which says what each weight is.

    Args:
        bytecode: The module. Its first arguments are the weights.
        weights: Their names.
    """
    with mlir.make_ir_context(), ir.Location.unknown():
        module = stablehlo.deserialize_portable_artifact(ir.Context.current, bytecode)
        old = ir.SymbolTable(module.operation)["main"]
        old.attributes["sym_name"] = ir.StringAttr.get("program")
        old.attributes["sym_visibility"] = ir.StringAttr.get("private")
        with ir.InsertionPoint(module.body):
            new = func.FuncOp("main", old.type, visibility="public")
        entry = new.add_entry_block()
        with ir.InsertionPoint(entry):
            arguments: list[Any] = list(entry.arguments)
            for index, name in enumerate(weights):
                kind = kind_of(name, weights)
                if kind is not None:
                    arguments[index] = _mark(arguments[index], name, kind)
            func.ReturnOp(func.CallOp(old, arguments).results)
        return mlir.module_to_bytecode(module)


def kind_of(name: str, weights: tuple[str, ...]) -> str | None:
    """Return how the compiler takes a weight. It changes the format of parameters, and of constants in products.

    So the ternary weights are parameters. Norms and scales are constants, which are prepared once. Embedding and head
    must keep their format: they are nothing in particular.
    """
    if f"{name}_scale" in weights:
        return "parameter"
    return None if name in ("embed_tokens.weight", "lm_head.weight") else "constant"


def _mark(value: Any, name: str, kind: str) -> Any:
    mark = stablehlo.CustomCallOp([value.type], [value], "tt.mark_argument")
    mark.attributes["mhlo.frontend_attributes"] = ir.DictAttr.get(
        {"ttcore.argument_type": ir.StringAttr.get(kind), "ttir.name": ir.StringAttr.get(name)}
    )
    return mark.result


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
