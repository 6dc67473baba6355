"""Master weights that config.json does not announce, as training programs save them (onebitllms, axolotl).

Such a folder looks like an ordinary Llama or BitNet model in bfloat16 or float32. Only the user knows that it was
trained with BitNet's quantisation. If the user says so, its weights are quantised as those of mode `online`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitnet_tt.checkpoint.families.family import MASTER_WEIGHTS
from bitnet_tt.checkpoint.floats import float_rows
from bitnet_tt.checkpoint.grouped import find_group
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.formats.tensor import StoredTensor

_ENDINGS = tuple(f"{name}.weight" for name in LINEAR_NAMES)
_NO_MASTERS = "leave out masters=True (--masters)"


def announce_masters(data: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """Return the fields of a config.json with a quantization_config that says that the weights are master weights.

    Args:
        data: The fields. Other settings in an existing quantization_config stay.
        tensors: Every tensor of the checkpoint.

    Raises:
        CheckpointError: The weights are quantised already; the message names a tensor.
    """
    for name, tensor in tensors.items():
        if name.endswith(".weight_scale"):
            raise tensor.error(f"is the scale of quantised weights, so these are no master weights; {_NO_MASTERS}")
        if name.endswith(_ENDINGS):
            _check_master(tensor)
    given = data.get("quantization_config") or MASTER_WEIGHTS
    announced = {**given, "quantization_mode": "online"} if isinstance(given, Mapping) else given
    return {**data, "quantization_config": announced}


def _check_master(tensor: StoredTensor) -> None:
    """Refuse packed weights, and floats -w, 0 and w: ternary weights that were multiplied by their scale.

    The mean of the latter's absolute values is less than w, so quantising them again would give a wrong scale.
    """
    if tensor.dtype == "U8":
        raise tensor.error(f"is packed, so this is no master weight; {_NO_MASTERS}")
    if find_group(tensor) is not None:
        raise tensor.error(
            f"holds ternary weights with a scale for each group, so this is no master weight; {_NO_MASTERS}"
        )
    found: np.float32 | None = None
    for _, rows in float_rows(tensor):
        sizes = np.abs(rows)
        sizes = sizes[sizes > 0]
        if sizes.size == 0:
            continue
        found = sizes[0] if found is None else found
        if sizes.min() != found or sizes.max() != found:
            return  # nearly always in the first rows
    if found is not None:
        raise tensor.error(
            f"holds only 0 and plus or minus {found}: ternary weights that were multiplied by their scale, not master "
            "weights, as in the bfloat16 revisions of Falcon-E; use the packed checkpoint of this model"
        )
