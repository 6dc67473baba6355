"""A program of torch.export as StableHLO, by way of torchax and JAX."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import torch

from bitnet_tt.errors import ExportError, MissingExtraError

if any(importlib.util.find_spec(name) is None for name in ("torchax", "jax")):
    raise MissingExtraError(
        "StableHLO needs the extra `stablehlo`: run `uv sync --extra stablehlo` where bitnet-tt was cloned, or "
        "`pip install 'bitnet-tt[stablehlo]'`"
    )

_NAMED_TENSOR_OVERLOADS = {
    "all": ("dimname", "dimname_out"),
    "index_add": ("dimname",),
    "index_copy": ("dimname",),
    "index_copy_": ("dimname",),
    "index_fill": ("Dimname_Scalar", "Dimname_Tensor"),
    "index_fill_": ("Dimname_Scalar", "Dimname_Tensor"),
    "norm": ("names_ScalarOpt_dim", "names_ScalarOpt_dim_dtype", "names_dtype_out", "names_out"),
    "prod": ("dim_Dimname",),
    "std": ("correction_names", "correction_names_out", "names_dim", "names_out"),
    "std_mean": ("correction_names", "names_dim"),
    "unbind": ("Dimname",),
}
"""torchax 0.0.13 names these overloads when it is imported. PyTorch 2.13 has no named tensors any more."""


def _define_missing_overloads() -> Any:
    """Declare the overloads that PyTorch lacks, so that torchax can be imported. Nothing calls them.

    Returns:
        The library that holds them. They exist as long as it does.
    """
    library = torch.library.Library("aten", "FRAGMENT")
    for operation, overloads in _NAMED_TENSOR_OVERLOADS.items():
        for overload in set(overloads) - set(getattr(torch.ops.aten, operation).overloads()):
            library.define(f"{operation}.{overload}(Tensor self, int dim) -> Tensor")
    return library


_LIBRARY = _define_missing_overloads()

import jax  # noqa: E402
import jax.export  # noqa: E402
import torchax  # noqa: E402
from torchax.export import exported_program_to_jax  # noqa: E402
from torchax.ops.mappings import t2j_dtype  # noqa: E402


@dataclass(frozen=True, slots=True)
class StableHLO:
    """A program as a StableHLO module.

    Attributes:
        parameters: Names of the parameters and buffers of the module: the first arguments, in this order. The inputs
            of the program follow.
        text: The module as text.
        bytecode: The module as a portable artifact, which newer versions of StableHLO read too.
    """

    parameters: tuple[str, ...]
    text: str
    bytecode: bytes


def to_stablehlo(program: torch.export.ExportedProgram) -> StableHLO:
    """Convert a program of torch.export. Parameters and buffers become arguments.

    Raises:
        ExportError: torchax or JAX cannot convert it; the message has their reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchax uses what PyTorch deprecates
            return _convert(program)
    except Exception as error:  # both libraries raise whatever they meet
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"torchax cannot convert the program to StableHLO: {reason}; export it as torch-export instead"
        ) from error


def _convert(program: torch.export.ExportedProgram) -> StableHLO:
    torchax.default_env()  # registers torchax's conversions
    names, tensors, run = exported_program_to_jax(program, export_raw=True)
    # JAX sorts the keys of a dictionary, so the arguments are in this order.
    parameters = {name: _abstract(tensor) for name, tensor in sorted(zip(names, tensors, strict=True))}

    def function(parameters: dict[str, Any], inputs: Any) -> Any:
        return run([parameters[name] for name in names], inputs)

    inputs = jax.tree.map(_abstract, program.example_inputs[0])
    exported = jax.export.export(jax.jit(function, keep_unused=True), platforms=["cpu"])(parameters, inputs)
    return StableHLO(tuple(parameters), str(exported.mlir_module()), exported.mlir_module_serialized)


def _abstract(tensor: torch.Tensor) -> Any:
    return jax.ShapeDtypeStruct(tuple(tensor.shape), t2j_dtype(tensor.dtype))
