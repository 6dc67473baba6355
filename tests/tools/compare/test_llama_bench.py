"""Another project's `llama-bench` gets the same work as ours, and its JSON becomes speeds.

The outputs are short and written by hand, after reading the printers of both projects (`json_printer` in
llama-bench.cpp). The program here is a shell script that prints one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitnet_tt.bench import Settings
from bitnet_tt.errors import BenchmarkError
from tools.compare.llama_bench import LlamaBench, measure_llama_bench, parse

SETTINGS = Settings(threads=(2,), prompt_length=32, context=8, new_tokens=4, repeats=2)
IK = LlamaBench("ik_llama.cpp", Path("ik/llama-bench"), Path("ik.gguf"), after_context=True)
BITNET = LlamaBench("bitnet.cpp", Path("bitnet/llama-bench"), Path("i2_s.gguf"), after_context=False)


def one_test(n_prompt: int, n_gen: int, *seconds: float) -> dict[str, Any]:
    """The fields of one test that we read, and some of those that we do not."""
    return {
        "build_commit": "1a2b3c",
        "build_number": 4000,
        "cpu_info": "a processor",
        "model_type": "bitnet-25 2B IQ2_BN_R4 - 2.0 bpw",
        "model_size": 700_000_000,
        "n_threads": 2,
        "n_prompt": n_prompt,
        "n_gen": n_gen,
        "test_time": "2026-11-29T00:00:00Z",
        "avg_ts": 1.0,
        "samples_ns": [round(one * 1e9) for one in seconds],
        "samples_ts": [1.0 for _ in seconds],
    }


def printed(*tests: dict[str, Any]) -> str:
    return json.dumps(tests, indent=2) + "\n"


def test_both_get_the_work_of_the_settings() -> None:
    common = ["-t", "2", "-r", "2", "-ngl", "0", "-o", "json", "-p", "32"]
    assert IK.command(SETTINGS, 2) == ["ik/llama-bench", "-m", "ik.gguf", *common, "-n", "0", "-gp", "8,4"]
    assert BITNET.command(SETTINGS, 2) == ["bitnet/llama-bench", "-m", "i2_s.gguf", *common, "-n", "4"]


def test_times_become_speeds() -> None:
    output = printed(one_test(32, 0, 0.5, 1.0), one_test(8, 4, 0.1, 0.2))
    result = parse(IK, output, SETTINGS, 2, 5)
    assert (result.name, result.version, result.weight_bytes, result.peak_rss_bytes) == (
        "ik_llama.cpp",
        "1a2b3c",
        700_000_000,
        5,
    )
    assert result.format == "bitnet-25 2B IQ2_BN_R4 - 2.0 bpw"
    assert (result.prefill.least, result.prefill.tokens_per_s, result.prefill.greatest) == (32, 48, 64)
    (decode,) = result.decode
    assert (decode.threads, decode.batch, decode.least, decode.greatest) == (2, 1, 20, 40)
    assert decode.bandwidth_share is None


def test_generation_from_an_empty_text_is_found_too() -> None:
    output = "a line about the processor\n" + printed(one_test(32, 0, 0.5), one_test(0, 4, 0.1))
    assert parse(BITNET, output, SETTINGS, 2, 5).decode[0].tokens_per_s == pytest.approx(40)


def test_a_batch_that_it_cannot_measure_is_left_out() -> None:
    settings = Settings(threads=(2,), batches=(8,), prompt_length=32, context=8, new_tokens=4)
    output = printed(one_test(32, 0, 0.5), one_test(8, 4, 0.1))
    assert parse(IK, output, settings, 2, 5).decode == ()


@pytest.mark.parametrize(
    "output",
    [
        "",
        "| model | size |\n",
        "[\n]\n",
        "[\n1]\n",
        printed(one_test(32, 0, 0.5)),
        printed({"n_prompt": 32, "n_gen": 0}),
    ],
)
def test_another_output_is_refused(output: str) -> None:
    with pytest.raises(BenchmarkError, match=r"ik_llama.cpp: ik/llama-bench printed no result of a llama-bench"):
        parse(IK, output, SETTINGS, 2, 5)


def script(folder: Path, body: str) -> LlamaBench:
    program, model = folder / "llama-bench", folder / "model.gguf"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    model.touch()
    return LlamaBench("ik_llama.cpp", program, model, after_context=True)


def test_the_program_runs_once_for_each_number_of_threads(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text(printed(one_test(32, 0, 0.5, 1.0), one_test(8, 4, 0.1, 0.2)))
    bench = script(tmp_path, f'echo "$4 $5 $6" >> {tmp_path}/calls; cat {output}')
    bench.check()
    calls: list[tuple[int, int]] = []
    settings = Settings(threads=(1, 2), prompt_length=32, context=8, new_tokens=4, repeats=2)
    results = measure_llama_bench(bench, settings, lambda done, total: calls.append((done, total)))
    assert [peer.prefill.threads for peer in results] == [1, 2]
    assert all(peer.peak_rss_bytes > 0 and peer.load_s is None for peer in results)
    assert (tmp_path / "calls").read_text() == "1 -r 2\n2 -r 2\n"
    assert calls == [(0, 2), (1, 2)]


def test_its_own_message_is_passed_on(tmp_path: Path) -> None:
    bench = script(tmp_path, "echo noise >&2; echo 'failed to load model' >&2; exit 1")
    with pytest.raises(BenchmarkError, match=r"ik_llama.cpp failed: failed to load model"):
        measure_llama_bench(bench, SETTINGS)


def test_missing_files_are_named_before_anything_is_measured(tmp_path: Path) -> None:
    bench = script(tmp_path, "")
    bench.program.chmod(0o644)
    with pytest.raises(BenchmarkError, match="is not a program; give its llama-bench"):
        bench.check()
    bench.model.unlink()
    with pytest.raises(BenchmarkError, match="there is no model"):
        bench.check()
