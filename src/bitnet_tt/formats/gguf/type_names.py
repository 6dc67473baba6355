"""The names of GGUF's tensor types, also of those that we do not read, and what to do about these.

Three projects give out type ids, and some ids have several meanings:
- ggml (ggml.h): 0 to 42. It removed 4, 5, 31 to 33 and 36 to 38.
- bitnet.cpp (microsoft/BitNet): 36 to 39.
- Prism ML's fork of llama.cpp: 142 and 143, and 42 with other blocks in its older files.
The bytes that a tensor takes decide between them.
"""

from __future__ import annotations

import math

from bitnet_tt.formats.gguf.types import BLOCKS, TYPE_IDS

_READ = {type_id: name for name, type_id in TYPE_IDS.items()}

_NOT_READ = {9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S"}
_NOT_READ |= {22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M"}
_NOT_READ |= {37: "I8_S", 38: "TL1", 39: "TL2", 40: "NVFP4", 41: "Q1_0", 143: "PTQ1_0"}

_REMOVED = {4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8"}
"""Types that ggml no longer has."""

_OTHER_MEANINGS = {36: ("IQ4_NL_4_4", 32, 18), 37: ("IQ4_NL_4_8", 32, 18), 38: ("IQ4_NL_8_8", 32, 18)}
_OTHER_MEANINGS |= {39: ("MXFP4", 32, 17), 42: ("Q2_0 in blocks of 128", 128, 34)}
"""The second meaning of an id: its name, its values per block and its bytes per block."""

_Q2_0 = TYPE_IDS["Q2_0"]
_UNCLEAR = "Q2_0 in blocks of 64 or 128"
"""Very few weights take the same room in both kinds of blocks."""

_MACHINE_BOUND = ("TL1", "TL2")
_OF_PRISM = ("Q1_0", "PTQ1_0")
_INSTEAD = "download a file with I2_S, TQ1_0 or TQ2_0 weights, or the safetensors of this model"


def type_name(type_id: int, shape: tuple[int, ...], room: int, alignment: int) -> str | None:
    """Return the name of a tensor's type, or None if its id is unknown.

    Args:
        type_id: The id in the tensor table.
        shape: The tensor's shape.
        room: The bytes from the tensor's first one to the next tensor, or to the end of the file.
        alignment: The alignment of the file. A tensor leaves fewer bytes than this of its room.
    """

    def fits(block_values: int, block_bytes: int) -> bool:
        blocks, rest = divmod(math.prod(shape), block_values)
        return not rest and blocks > 0 and 0 <= room - blocks * block_bytes < alignment

    if type_id in _OTHER_MEANINGS and fits(*_OTHER_MEANINGS[type_id][1:]):
        return _UNCLEAR if type_id == _Q2_0 and fits(*BLOCKS["Q2_0"]) else _OTHER_MEANINGS[type_id][0]
    return _READ.get(type_id) or _NOT_READ.get(type_id) or _REMOVED.get(type_id)


def refusal(type_id: int, name: str | None) -> str:
    """Say why a tensor of a type that we do not read is refused, and what to do. The text follows "has ".

    Args:
        type_id: The id in the tensor table.
        name: What `type_name` returns.
    """
    if name is None:
        return (
            f"the unknown type {type_id}: the file may be newer than this version of BitNet-TT; update BitNet-TT, or "
            f"{_INSTEAD}"
        )
    if name in _MACHINE_BOUND:
        return (
            f"type {name}, whose layout depends on the machine that made the file; download the I2_S file of this "
            "model, or its safetensors, instead"
        )
    if name in _OF_PRISM:
        return f"type {name}, which cannot be read; download a file with Q2_0 or PQ2_0 weights if the model is ternary"
    if name in _REMOVED.values() or name.startswith("IQ4_NL_"):
        return f"type {name}, which GGUF files no longer have; {_INSTEAD}"
    return f"type {name}, which cannot be read; {_INSTEAD}"
