"""Read the fields of a protocol buffers message (protobuf.dev, "Encoding") without its schema.

The library `protobuf` is not used: sentencepiece's schema for it demands one exact major version, which other packages
of an installation, such as ttnn, may not allow.
"""

from __future__ import annotations

type Fields = dict[int, list[int | bytes]]
"""The values of each field of a message, by its number."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types: how the value of a field is written."""


def read_fields(data: bytes) -> Fields:
    """Return the values of each field, by its number.

    Args:
        data: A message.

    Returns:
        Integers for fields of the types integer, boolean and enum; bytes for strings, messages and floats.

    Raises:
        ValueError: The data is not a message.
    """
    fields: Fields = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value: int | bytes
        if key & 7 == VARINT:
            value, at = _read_varint(data, at)
        else:
            length, at = _read_length(data, at, key & 7)
            value, at = data[at : at + length], at + length
            if at > len(data):
                raise ValueError("the last field is cut off")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return an integer, whose bytes hold 7 bits each, lowest first, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError("an integer has no end")


def _read_length(data: bytes, at: int, wire_type: int) -> tuple[int, int]:
    if wire_type == BYTES:
        return _read_varint(data, at)
    if wire_type not in (FIXED32, FIXED64):
        raise ValueError(f"wire type {wire_type} is unknown")
    return 4 if wire_type == FIXED32 else 8, at
