"""Messages of protocol buffers are read field by field, and anything else is refused with ValueError."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.tokenizer.protobuf import read_fields


def test_fields_of_every_wire_type() -> None:
    data = b"\x08\x96\x01" + b"\x12\x07testing" + b"\x1d\0\0\x80\x3f" + b"\x21" + bytes(8) + b"\x08\x01"
    assert read_fields(data) == {1: [150, 1], 2: [b"testing"], 3: [b"\0\0\x80\x3f"], 4: [bytes(8)]}
    assert read_fields(b"") == {}


@pytest.mark.parametrize("data", [b"\x08", b"\x08\xff", b"\x12\x05abc", b"\x0b", b"\x08" + b"\xff" * 10])
def test_damaged_messages(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|no end|unknown"):
        read_fields(data)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_fields(data)
