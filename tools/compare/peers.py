"""Measure llama.cpp on the weights of our checkpoint, in a process of its own for each number of threads."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bitnet_tt.bench import Settings
from bitnet_tt.bench.report.results import Roof, Speed, Spread
from bitnet_tt.bench.report.shares import with_shares
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import BenchmarkError
from bitnet_tt.formats.gguf import read
from bitnet_tt.formats.staging import staged
from tools.compare.peer_model import save_q2_0, save_tq2_0

PEER = "llama-cpp-python"
REQUIREMENT = f"{PEER}>=0.3.36,<0.4"

_CLONE = Path(__file__).parents[2]
_CACHE_VALUE_BYTES = 2  # llama.cpp stores keys and values as float16


@dataclass(frozen=True, slots=True)
class PeerResult:
    """The result of another program on the same shape, with one number of threads.

    Attributes:
        name: The program.
        version: Its version.
        format: How its weights are stored.
        weight_bytes: Bytes of all tensors in its file.
        load_s: Seconds to load the file; None if the program does not say.
        peak_rss_bytes: Peak of its resident memory, pages of mapped files included.
        prefill: Speed of reading prompts.
        decode: Speed of generating, one entry for each batch. `bytes_per_step` counts the peer's own bytes.
    """

    name: str
    version: str
    format: str
    weight_bytes: int
    load_s: float | None
    peak_rss_bytes: int
    prefill: Speed
    decode: tuple[Speed, ...]


def check_installed() -> None:
    """Check that llama-cpp-python is installed. Call this before the measurement, which takes minutes.

    Raises:
        BenchmarkError: It is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        raise BenchmarkError(
            f"{PEER} is not installed; install it with: uv pip install '{REQUIREMENT}' (this builds it from source, "
            "which takes about ten minutes)"
        )


def measure_peer(
    model: Path,
    settings: Settings,
    roofs: Sequence[Roof],
    *,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[PeerResult, ...]:
    """Measure llama.cpp in the fastest format that it has for the model.

    That is TQ2_0 with a Q6_K embedding, or Q2_0 if the model has group scales.

    Args:
        model: Our checkpoint. llama.cpp gets the same weights.
        settings: What to measure.
        roofs: The limits of the machine with each number of threads of `settings`.
        folder: Folder for llama.cpp's copy of the model. An existing copy is used again.
        progress: Called with the number of finished runs and the number of all runs.

    Returns:
        One result for each number of threads.

    Raises:
        BenchmarkError: llama.cpp has no format for this model, or it failed.
    """
    roof_of = {roof.threads: roof for roof in roofs}
    results: list[PeerResult] = []
    for threads in settings.threads:
        progress(len(results), len(settings.threads))
        results.append(_with_bandwidth_shares(run_peer(model, settings, threads, folder), roof_of[threads]))
    return tuple(results)


def run_peer(model: Path, settings: Settings, threads: int, folder: Path) -> PeerResult:
    """Measure llama.cpp with one number of threads; the result has no shares yet. See `measure_peer`."""
    config = Checkpoint.open(model).config
    file = _model_file(model, config, threads, folder)
    work = {
        "threads": threads,
        "batches": settings.batches,
        "prompt_length": settings.prompt_length,
        "context": settings.context,
        "new_tokens": settings.new_tokens,
        "repeats": settings.repeats,
    }
    measured = json.loads(run_llama_cpp([str(file), json.dumps(work)]))
    return _result(file, config, settings, threads, measured)


def run_llama_cpp(arguments: Sequence[str]) -> str:
    """Run `tools.compare.run_llama_cpp` with these arguments and return its standard output.

    Raises:
        BenchmarkError: The program failed; the message ends with the last line of its standard error.
    """
    command = [sys.executable, "-m", "tools.compare.run_llama_cpp", *arguments]
    process = subprocess.run(command, cwd=_CLONE, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        last_line = process.stderr.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise BenchmarkError(f"{PEER} failed: {last_line[0]}; check that its version fits {REQUIREMENT}")
    return process.stdout


def _model_file(model: Path, config: ModelConfig, threads: int, folder: Path) -> Path:
    """Return llama.cpp's copy of the model. If it is missing, write it; llama.cpp may then quantise the embedding."""
    name = f"{model.stem}-for-llama-cpp"
    if config.quantization.group_size is not None:
        grouped = folder.resolve() / f"{name}-q2_0.gguf"
        if not grouped.exists():
            save_q2_0(config, Checkpoint.open(model).load_weights(), grouped)
        return grouped
    quantized = folder.resolve() / f"{name}-q6_k.gguf"
    if quantized.exists():
        return quantized
    plain = folder.resolve() / f"{name}-f16.gguf"
    if not plain.exists():
        save_tq2_0(config, Checkpoint.open(model).load_weights(), plain)
    with staged(quantized, plain.stat().st_size, overwrite=False) as path:
        run_llama_cpp(["quantize", str(plain), str(path), str(threads)])
    plain.unlink()
    return quantized


def _result(file: Path, config: ModelConfig, settings: Settings, threads: int, measured: dict[str, Any]) -> PeerResult:
    weight_bytes = sum(tensor.size for tensor in read(file).tensors.values())
    bytes_per_position = (
        2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * _CACHE_VALUE_BYTES
    )
    mean_context = settings.context + settings.new_tokens // 2

    def speed(seconds: Sequence[float], tokens: int, batch: int, bytes_per_step: int | None) -> Speed:
        rates = Spread.of(tokens / one for one in seconds)
        return Speed(threads, batch, rates.median, rates.least, rates.greatest, bytes_per_step)

    return PeerResult(
        name=PEER,
        version=version(PEER),
        format="TQ2_0, embedding Q6_K" if config.quantization.group_size is None else "Q2_0",
        weight_bytes=weight_bytes,
        load_s=measured["load_s"],
        peak_rss_bytes=measured["peak_rss_bytes"],
        prefill=speed(measured["prefill"], settings.prompt_length, 1, None),
        decode=tuple(
            speed(
                measured["decode"][str(batch)],
                batch * settings.new_tokens,
                batch,
                weight_bytes + batch * mean_context * bytes_per_position,
            )
            for batch in settings.batches
        ),
    )


def _with_bandwidth_shares(peer: PeerResult, roof: Roof) -> PeerResult:
    """Add the shares of the read bandwidth. An int8 share would say nothing: llama.cpp may multiply in another way."""
    decode = [with_shares(speed, roof, bytes_per_step=speed.bytes_per_step) for speed in peer.decode]
    return replace(peer, decode=tuple(decode))
