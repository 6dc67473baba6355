"""The engine, our server and others get the same work by turns, and a server that gives less is an error."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import gguf
import numpy as np
import pytest

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.hub import resolve
from bitnet_tt.reference import unpack_ternary
from tools.server_load.program import ServerProgram
from tools.server_overhead.client import read_streams
from tools.server_overhead.measure import ENGINE, SERVER, Server, measure
from tools.server_overhead.peer_model import save_q4_0
from tools.server_overhead.work import Work

command = importlib.import_module("tools.server_overhead.__main__")


def test_each_program_is_measured_in_each_round(tmp_path: Path) -> None:
    with ServerProgram(tmp_path / "log") as server:
        servers = {SERVER: Server(server.url, server.process.pid), "other": Server(server.url)}
        results = measure(servers, [Work(1, 4), Work(3, 4)], 2)
        with pytest.raises(SystemExit, match="did not give 1000 tokens"):
            asyncio.run(read_streams(server.url, Work(1, 1000)))
    assert [(one.program, one.work.streams) for one in results] == [
        (name, streams) for streams in (1, 3) for name in (ENGINE, SERVER, "other")
    ]
    for one in results:
        assert len(one.tokens_per_s) == len(one.first_token_ms) == 2
        assert min(*one.tokens_per_s, *one.first_token_ms) > 0
        assert one.program != SERVER or one.speed_ratios == (1.0, 1.0)
    lines = command.table(results).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["engine", "bitnet-tt", "other"]


def test_the_file_for_llama_server_has_the_weights_of_the_demo(tmp_path: Path) -> None:
    source = resolve("demo")
    save_q4_0(source, tmp_path / "demo.gguf")
    reader = gguf.GGUFReader(tmp_path / "demo.gguf")
    tensor = next(one for one in reader.tensors if one.name == "blk.1.ffn_down.weight")
    expected = Checkpoint.open(source).load_weights().layers[1].down_proj
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    ternary = unpack_ternary(expected.packed).astype(np.float32)
    np.testing.assert_array_equal(values, ternary * np.float32(np.float16(expected.scale)))
    assert reader.fields["tokenizer.ggml.tokens"] is not None
