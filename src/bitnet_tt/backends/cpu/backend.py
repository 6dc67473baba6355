"""CPUBackend: checks what comes from outside, then hands it to the native decoder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.base import BackendStats, Batch, Candidates, LogitFilter, PhaseTime
from bitnet_tt.backends.cpu.host import memory_limit, physical_cores
from bitnet_tt.backends.cpu.load import load_layers, load_norm, load_table
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError, DeviceError
from bitnet_tt.rope import rope_tables
from bitnet_tt.weights import ModelWeights

# A buffer for more rows of logits than this is given back when a later step needs few.
_KEPT_LOGIT_ROWS = 64

# Bytes of weights a layer, at least, for each thread that takes part in a step; for many tokens the equivalent in
# multiplications. With less to do, telling the other threads takes longer than they save.
_THREAD_WORK = 512 << 10

# Sums of products of the screen's codes stay within an int32 up to so many columns.
_MOST_SCREENED_COLUMNS = 1 << 17

# An lm_head of at most so many bytes stays in the processor's caches; to compute all of it is as fast as to screen it.
_SMALL_HEAD = 4 << 20

# The first step does without the screen, which takes longer to make than it saves: a first token comes sooner.
_UNSCREENED_AT_FIRST = 1

# After a row whose cut let too many logits pass, so many steps compute whole rows: the next ones will be no different.
_UNSCREENED_STEPS = 16


def available_isas() -> list[str]:
    """Names of the instruction sets this processor can run, fastest first; `scalar` is always among them."""
    return _native.available_isas()


class CPUBackend:
    """The numerics contract on the CPU. Logits do not depend on `threads`, `isa`, or anything else in a batch.

    Ternary weights are copied to huge pages, see `arena`; all others are used where they lie, and kept alive. A
    process forked after the backend was made must make its own. One step runs at a time, on a fixed team of threads and
    without the GIL.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: ModelWeights,
        *,
        threads: int | None = None,
        isa: str | None = None,
        context_length: int | None = None,
    ) -> None:
        """Check the weights and start the threads.

        Args:
            config: The model's shape.
            weights: Its weights.
            threads: How many threads at most; a step with little to do runs on fewer. None for as many as there are
                physical cores available to this process.
            isa: One of `available_isas()`; None for the fastest.
            context_length: Longest sequence; None for what the model was made for.

        Raises:
            CheckpointError: An array has the wrong dtype or shape; the message names it.
            DeviceError: An instruction set this processor does not have, or threads the system refuses.
        """
        if threads is None:
            threads = physical_cores()
        if threads < 1:
            raise DeviceError(f"threads is {threads}; it must be at least 1")
        if len(weights.layers) != config.num_hidden_layers:
            raise CheckpointError(
                f"the model has {len(weights.layers)} layers; its config asks for {config.num_hidden_layers}"
            )
        cos, sin = rope_tables(config, context_length or config.max_position_embeddings)
        shape = _native.Shape(
            vocab=config.vocab_size,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            norm_eps=config.rms_norm_eps,
            input_norm_eps=config.quantization.rms_norm_eps,
            act=_native.HiddenAct.relu2 if config.hidden_act == "relu2" else _native.HiddenAct.silu,
        )
        self._config = config
        self._decoder: _native.Decoder | None = _native.Decoder(
            shape=shape,
            embedding=load_table("embed_tokens", weights.embed_tokens, config),
            layers=load_layers(weights.layers, config, threads=threads, isa=isa or ""),
            norm=load_norm("norm", weights.norm, config.hidden_size),
            head=load_table("lm_head", weights.lm_head, config),
            cos=cos,
            sin=sin,
            threads=threads,
            thread_work=_THREAD_WORK,
            isa=isa or "",
        )
        self._logits = np.empty((0, config.vocab_size), dtype=np.float32)
        self._screens = (
            config.vocab_size * config.hidden_size * 2 > _SMALL_HEAD and config.hidden_size <= _MOST_SCREENED_COLUMNS
        )
        self._unscreened = _UNSCREENED_AT_FIRST
        self._ids = np.empty((0, _native.MOST_CANDIDATES), np.int32)
        self._found = np.empty((0, _native.MOST_CANDIDATES), np.float32)
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """Such as `cpu (avx512_vnni, 8 threads)`."""
        return f"cpu ({self.isa}, {self.threads} thread{'s' if self.threads > 1 else ''})"

    @property
    def threads(self) -> int:
        """How many threads a step runs on at most."""
        return self._opened().threads

    @property
    def isa(self) -> str:
        """The instruction set in use, one of `available_isas()`."""
        return self._opened().isa

    def stats(self) -> BackendStats:
        """Return memory use, and figures of the last step; see `BackendStats`."""
        decoder = self._opened()
        return BackendStats(
            weight_bytes=decoder.weight_bytes,
            file_bytes=decoder.file_bytes,
            screen_bytes=decoder.screen_bytes,
            kv_cache_bytes=decoder.kv_cache_bytes,
            head_bytes_read=decoder.head_bytes_read,
            logits_computed=decoder.logits_computed,
        )

    def close(self) -> None:
        """Stop the threads and free the memory; the backend cannot be used afterwards."""
        with self._exclusive():
            self._decoder = None
            self._logits = np.empty((0, self._config.vocab_size), dtype=np.float32)

    def allocate(self, num_blocks: int, block_size: int) -> None:
        """Make room for a KV cache; pages of it cost memory once they are used. See `Backend.allocate`."""
        if num_blocks < 1 or block_size < 1:
            raise ValueError(f"num_blocks ({num_blocks}) and block_size ({block_size}) must be at least 1")
        config = self._config
        head_stride = -(-config.head_dim // 16) * 16  # the native layout pads heads to whole vectors
        per_position = config.num_hidden_layers * 2 * config.num_key_value_heads * head_stride * 4
        size, limit = num_blocks * block_size * per_position, memory_limit()
        if size > limit:
            raise DeviceError(
                f"a key/value cache of {num_blocks * block_size} positions takes {size / 2**30:.1f} GiB; "
                f"this process may have {limit / 2**30:.1f} GiB: ask for a smaller context or batch"
            )
        with self._exclusive():
            self._opened().allocate(num_blocks, block_size)

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        """One step; see `Backend.forward`.

        Raises:
            RequestError: A token id outside the vocabulary, or a sequence longer than the context.
            ValueError: Anything else in the batch that makes no sense.
            DeviceError: Another thread is in `forward`, or this process was forked after the backend was made.
        """
        rows = len(batch.logit_rows)
        with self._exclusive():
            capacity = len(self._logits)
            if rows > capacity or (rows <= _KEPT_LOGIT_ROWS < capacity):
                self._logits = np.empty((max(rows, 1), self._config.vocab_size), dtype=np.float32)
            logits = self._logits[:rows]
            self._opened().forward(
                batch.token_ids, batch.starts, batch.positions, batch.block_tables, batch.logit_rows, logits
            )
        return logits

    def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
        """One step; see `Backend.candidates` and `forward`.

        Which logits pass their filters is proven by a copy of the lm_head in 6 bits that bounds each of them, see
        native/head.hpp; the second call makes it.
        """
        rows, most = len(filters), _native.MOST_CANDIDATES
        self._unscreened -= rows > 0
        wait = not self._screens or self._unscreened >= 0
        if wait or not rows or any(limit.passes_all or (limit.count or 0) > most for limit in filters):
            return [Candidates(row) for row in self.forward(batch)]
        counts = np.array([limit.count or 0 for limit in filters], np.int32)
        margins = np.nextafter(np.array([limit.margin for limit in filters], np.float32), np.float32(np.inf))
        temperatures = np.array([limit.mass_temperature for limit in filters], np.float32)
        with self._exclusive():
            if rows > len(self._found):
                self._ids = np.empty((rows, most), np.int32)
                self._found = np.empty((rows, most), np.float32)
            passed, rests = np.empty(rows, np.int32), np.empty(rows, np.float32)
            self._opened().forward_greatest(
                batch.token_ids,
                batch.starts,
                batch.positions,
                batch.block_tables,
                batch.logit_rows,
                counts,
                margins,
                temperatures,
                self._ids[:rows],
                self._found[:rows],
                passed,
                rests,
            )
            self._unscreened = _UNSCREENED_STEPS if (passed < 0).any() else 0
            return [
                Candidates(self._whole_row(row))
                if count < 0
                else Candidates(
                    self._found[row, :count],
                    self._ids[row, :count].astype(np.int64),
                    rest,
                    partial(self._load_row, row),
                )
                for row, (count, rest) in enumerate(zip(passed.tolist(), rests.tolist(), strict=True))
            ]

    def _load_row(self, row: int) -> NDArray[np.float32]:
        """Compute all logits of a row of the last step, for `Candidates.whole_row`."""
        with self._exclusive():
            return self._whole_row(row)

    def _whole_row(self, row: int) -> NDArray[np.float32]:
        whole = np.empty(self._config.vocab_size, np.float32)
        self._opened().whole_row(row, whole[None])
        return whole

    def start_profile(self) -> None:
        """Measure from now on where the time of each step goes; without this no clock is read."""
        with self._exclusive():
            self._opened().start_profile()

    def stop_profile(self) -> list[PhaseTime]:
        """Stop measuring; what was measured since `start_profile`, in the order of a step."""
        with self._exclusive():
            return [PhaseTime(*row) for row in self._opened().stop_profile()]

    def _opened(self) -> _native.Decoder:
        if self._decoder is None:
            raise DeviceError("this CPU backend is closed; load the model again")
        return self._decoder

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        # A second caller is an error rather than made to wait: its step would overwrite the logits of the first one's.
        if not self._lock.acquire(blocking=False):
            raise DeviceError("the CPU backend is running a step in another thread; use one engine for all requests")
        try:
            yield
        finally:
            self._lock.release()
