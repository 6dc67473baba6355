"""Times llama.cpp through llama-cpp-python's bindings; a program of its own, so that its memory is its own.

    python -m tools.compare.llama_cpp FILE.gguf '{"threads": 2, ...}'    prints JSON

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


class LlamaCpp:
    """A model and a context with room for the work to come."""

    def __init__(self, model: Path, *, threads: int, positions: int, batch: int, step_tokens: int) -> None:
        """Load a GGUF file.

        Args:
            model: The file.
            threads: Threads for prompts and for generation.
            positions: Most tokens of one sequence.
            batch: Most sequences at once.
            step_tokens: Most tokens of one step.
        """
        import llama_cpp

        self._library = llama_cpp
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        loaded = llama_cpp.llama_model_load_from_file(str(model).encode(), llama_cpp.llama_model_default_params())
        if not loaded:
            raise SystemExit(f"llama.cpp does not load {model}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = positions * batch
        settings.n_batch = settings.n_ubatch = step_tokens
        settings.n_seq_max = batch
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = False
        self._context = llama_cpp.llama_init_from_model(loaded, settings)
        if not self._context:
            raise SystemExit(f"llama.cpp makes no context for {model}")
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
        self._batch = llama_cpp.llama_batch_init(step_tokens, 0, 1)
        self._random = random.Random(0)
        self._step_tokens = step_tokens

    def prefill(self, length: int) -> float:
        """Seconds to read a prompt."""
        self._forget()
        start = time.perf_counter()
        self._read(0, length)
        return time.perf_counter() - start

    def decode(self, batch: int, context: int, new_tokens: int) -> float:
        """Seconds to append so many tokens to each of `batch` sequences of `context` tokens."""
        self._forget()
        for sequence in range(batch):
            self._read(sequence, context)
        start = time.perf_counter()
        for position in range(context, context + new_tokens):
            self._step([(position, sequence, True) for sequence in range(batch)])
        return time.perf_counter() - start

    def _read(self, sequence: int, length: int) -> None:
        for start in range(0, length, self._step_tokens):
            end = min(start + self._step_tokens, length)
            self._step([(position, sequence, position == length - 1) for position in range(start, end)])

    def _step(self, tokens: Sequence[tuple[int, int, bool]]) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, (position, sequence, wanted) in enumerate(tokens):
            batch.token[index] = self._random.randrange(self._vocab_size)
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = wanted
        if self._library.llama_decode(self._context, batch) != 0:
            raise SystemExit("llama.cpp's llama_decode failed")
        self._library.llama_get_logits(self._context)  # waits for the result

    def _forget(self) -> None:
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)


def quantize_embedding(source: Path, target: Path, threads: int) -> None:
    """Copy a GGUF file of TQ2_0 with its embedding in Q6_K, made by llama.cpp's own quantiser."""
    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.nthread = threads
    settings.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_TQ2_0
    settings.token_embedding_type = settings.output_tensor_type = llama_cpp.GGML_TYPE_Q6_K
    settings.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(settings)) != 0:
        raise SystemExit(f"llama.cpp does not quantise {source}")


def measure(model: Path, work: dict[str, Any]) -> dict[str, Any]:
    """Time a model.

    Args:
        model: The GGUF file.
        work: `threads`, `batches`, `prompt_length`, `context`, `new_tokens`, `repeats`, as in `Settings`.

    Returns:
        `load_s`; `prefill`, the seconds of each repeat; `decode`, those of each batch; `peak_rss_bytes` of the prompt
        and the smallest batch.
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
        step_tokens=512,
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
