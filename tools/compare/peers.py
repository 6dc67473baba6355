"""Other programs on the same shape, each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tools.compare.peer_model import save_tq2_0

from bitnet_tt.bench.measure.runs import Settings
from bitnet_tt.bench.report.results import PeerResult, Speed, Spread
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import BenchmarkError
from bitnet_tt.formats.gguf import read
from bitnet_tt.formats.staging import staged

PeerName = Literal["llama-cpp-python"]

_REQUIREMENT = "llama-cpp-python>=0.3.36,<0.4"
_CACHE_BYTES = 2
"""llama.cpp keeps keys and values as float16."""


def check(peer: PeerName) -> None:
    """See that a peer can run.

    Raises:
        BenchmarkError: It is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        raise BenchmarkError(
            f"{peer} is not installed; it is built from source, in about ten minutes, by: uv pip install "
            f"'{_REQUIREMENT}'"
        )


def run(peer: PeerName, model: Path, settings: Settings, threads: int, folder: Path) -> PeerResult:
    """Measure a peer with TQ2_0 weights and a Q6_K embedding, the fastest files it takes of such a model.

    Args:
        peer: Which; see `check`.
        model: Our checkpoint, whose weights it gets.
        settings: What to measure.
        threads: CPU threads.
        folder: Where its files of the model are kept, to be used again.

    Raises:
        BenchmarkError: It has no such models, or it failed.
    """
    file = _model_file(model, threads, folder)
    work = {
        "threads": threads,
        "batches": settings.batches,
        "prompt_length": settings.prompt_length,
        "context": settings.context,
        "new_tokens": settings.new_tokens,
        "repeats": settings.repeats,
    }
    result = json.loads(_run([str(file), json.dumps(work)]))
    return _result(peer, file, Checkpoint.open(model).config, settings, threads, result)


def _model_file(model: Path, threads: int, folder: Path) -> Path:
    """The peer's file of the model, made if it is not there yet: by us, then the embedding by its own quantiser."""
    name = f"{model.stem}-for-llama-cpp"
    best = folder / f"{name}-q6_k.gguf"
    if best.exists():
        return best
    plain = folder / f"{name}-f16.gguf"
    if not plain.exists():
        checkpoint = Checkpoint.open(model)
        save_tq2_0(checkpoint.config, checkpoint.load_weights(), plain)
    with staged(best, plain.stat().st_size, overwrite=False) as path:
        _run(["quantize", str(plain), str(path), str(threads)])
    plain.unlink()
    return best


def _run(arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "tools.compare.llama_cpp", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        last = process.stderr.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise BenchmarkError(f"llama-cpp-python failed: {last[0]}; check that its version fits {_REQUIREMENT}")
    return process.stdout


def _result(
    peer: PeerName, file: Path, config: ModelConfig, settings: Settings, threads: int, result: dict[str, Any]
) -> PeerResult:
    weights = sum(tensor.size for tensor in read(file).tensors.values())
    per_position = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * _CACHE_BYTES
    context = settings.context + settings.new_tokens // 2

    def speed(seconds: Sequence[float], tokens: int, batch: int, bytes_per_step: int | None) -> Speed:
        rates = Spread.of(tokens / one for one in seconds)
        return Speed(threads, batch, rates.median, rates.least, rates.greatest, bytes_per_step)

    return PeerResult(
        name=peer,
        version=version(peer),
        format="TQ2_0, embedding Q6_K",
        weight_bytes=weights,
        load_s=result["load_s"],
        peak_rss_bytes=result["peak_rss_bytes"],
        prefill=speed(result["prefill"], settings.prompt_length, 1, None),
        decode=tuple(
            speed(
                result["decode"][str(batch)],
                batch * settings.new_tokens,
                batch,
                weights + batch * context * per_position,
            )
            for batch in settings.batches
        ),
    )
