"""Time llama.cpp through the bindings of llama-cpp-python. `peers` runs this as a program, to measure its memory alone.

    python -m tools.compare.run_llama_cpp FILE.gguf '{"threads": 2, ...}'          print the result of `measure` as JSON
    python -m tools.compare.run_llama_cpp quantize SOURCE.gguf TARGET.gguf THREADS

The bindings are called as llama.cpp's own llama-bench calls the library: random tokens, no sampling.
"""

from __future__ import annotations

import ctypes
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitnet_tt.bench.measure.memory import peak_rss_bytes

_STEP_TOKENS = 512


class LlamaCpp:
    """A loaded model and a context for its sequences."""

    def __init__(self, model: Path, *, threads: int, positions: int, batch: int) -> None:
        """Load a GGUF file.

        Args:
            model: The file.
            threads: Threads for prompts and for generation.
            positions: Maximum number of tokens of one sequence.
            batch: Maximum number of sequences at once.
        """
        import llama_cpp

        self._library = llama_cpp
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)  # kept alive
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        loaded = llama_cpp.llama_model_load_from_file(str(model).encode(), llama_cpp.llama_model_default_params())
        if not loaded:
            raise SystemExit(f"llama.cpp cannot load {model}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = positions * batch
        settings.n_batch = settings.n_ubatch = _STEP_TOKENS
        settings.n_seq_max = batch
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = False
        self._context = llama_cpp.llama_init_from_model(loaded, settings)
        if not self._context:
            raise SystemExit(f"llama.cpp cannot create a context for {model}")
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
        self._batch = llama_cpp.llama_batch_init(_STEP_TOKENS, 0, 1)
        self._random = random.Random(0)

    def prefill(self, length: int) -> float:
        """Return the seconds that a prompt of `length` tokens takes."""
        self._clear()
        start = time.perf_counter()
        self._read(0, length)
        return time.perf_counter() - start

    def decode(self, batch: int, context: int, new_tokens: int) -> float:
        """Return the seconds to append `new_tokens` tokens to each of `batch` sequences of `context` tokens."""
        self._clear()
        for sequence in range(batch):
            self._read(sequence, context)
        start = time.perf_counter()
        for position in range(context, context + new_tokens):
            self._step([(position, sequence, True) for sequence in range(batch)])
        return time.perf_counter() - start

    def _read(self, sequence: int, length: int) -> None:
        for start in range(0, length, _STEP_TOKENS):
            end = min(start + _STEP_TOKENS, length)
            self._step([(position, sequence, position == length - 1) for position in range(start, end)])

    def _step(self, tokens: Sequence[tuple[int, int, bool]]) -> None:
        """Run a step. Each token is (position, sequence, whether its logits are computed)."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, (position, sequence, with_logits) in enumerate(tokens):
            batch.token[index] = self._random.randrange(self._vocab_size)
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = with_logits
        if self._library.llama_decode(self._context, batch) != 0:
            raise SystemExit("llama.cpp's llama_decode failed")
        self._library.llama_get_logits(self._context)  # waits for the result

    def _clear(self) -> None:
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)


def quantize_embedding(source: Path, target: Path, threads: int) -> None:
    """Copy a TQ2_0 GGUF file; llama.cpp's own quantiser converts its embedding to Q6_K."""
    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.nthread = threads
    settings.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_TQ2_0
    settings.token_embedding_type = settings.output_tensor_type = llama_cpp.GGML_TYPE_Q6_K
    settings.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(settings)) != 0:
        raise SystemExit(f"llama.cpp cannot quantise {source}")


def measure(model: Path, work: dict[str, Any]) -> dict[str, Any]:
    """Load a model and time it.

    Args:
        model: The GGUF file.
        work: `threads` (one number), `batches`, `prompt_length`, `context`, `new_tokens`, `repeats`, as in `Settings`.

    Returns:
        `load_s`; `prefill`: the seconds of each repeat; `decode`: the seconds of each repeat, by batch size;
        `peak_rss_bytes`: the peak of the memory after the prompt and the smallest batch.
    """
    start = time.perf_counter()
    batches, prompt_length, context, new_tokens = (
        work[name] for name in ("batches", "prompt_length", "context", "new_tokens")
    )
    peer = LlamaCpp(
        model,
        threads=work["threads"],
        positions=max(prompt_length, context + new_tokens),
        batch=max(batches),
    )
    load_s = time.perf_counter() - start
    peer.prefill(1)
    prefill = [peer.prefill(prompt_length) for _ in range(work["repeats"])]
    decode: dict[int, list[float]] = {}
    peak = 0
    for batch in sorted(batches):
        decode[batch] = [peer.decode(batch, context, new_tokens) for _ in range(work["repeats"])]
        peak = peak or peak_rss_bytes()
    return {"load_s": load_s, "prefill": prefill, "decode": decode, "peak_rss_bytes": peak}


if __name__ == "__main__":
    if sys.argv[1] == "quantize":
        quantize_embedding(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        print(json.dumps(measure(Path(sys.argv[1]), json.loads(sys.argv[2]))))
