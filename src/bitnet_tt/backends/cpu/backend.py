"""CPUBackend: checks its arguments and runs the native decoder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.base import FORKED, BackendStats, Batch, Candidates, LogitFilter, PhaseTime
from bitnet_tt.backends.cpu.host import memory_limit, memory_nodes, physical_cores
from bitnet_tt.backends.cpu.load import LayerMover, load_layers, load_norm, load_table
from bitnet_tt.backends.cpu.rows import RowPlan, filter_arrays, plan_row
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError, DeviceError
from bitnet_tt.rope import rope_tables
from bitnet_tt.weights import GroupedMatrix, ModelWeights

type _Ints = NDArray[np.int32]
type _Floats = NDArray[np.float32]

# A step runs on one thread for each of this many bytes of a layer's weights. For many tokens, the equivalent in
# multiplications counts. With less work, waking another thread takes longer than the thread saves.
THREAD_WORK = 512 << 10

# The lm_head is screened only if it is in bfloat16 and has more bytes than this. A smaller one stays in the processor's
# caches, and computing all of it is as fast as screening it.
SMALL_HEAD_BYTES = 4 << 20

# The lm_head is screened only up to this many columns. The screen's integer sums then fit in an int32.
MAX_SCREENED_COLUMNS = 1 << 17

# A buffer for more rows of logits than this is freed when a later step needs few.
_KEPT_LOGIT_ROWS = 64

# The first step computes whole rows: making the screen takes longer than one step saves, and the first token comes
# sooner.
_WHOLE_STEPS_AT_FIRST = 1

# For one token in this many, or more, the whole row is computed: reading the table in order is faster.
_WHOLE_ROW_SHARE = 2

# After a row with more candidates than native code keeps, this many steps compute whole rows: the next rows are
# probably like it.
_WHOLE_STEPS_AFTER_OVERFLOW = 16


def available_isas() -> list[str]:
    """Return the instruction sets that this processor can run, fastest first. The last one is always `scalar`."""
    return _native.available_isas()


def check_settings(threads: int | None, isa: str | None) -> None:
    """Check the settings of the CPU backend.

    Raises:
        DeviceError: `threads` is below 1, or the processor lacks the instruction set.
    """
    if threads is not None and threads < 1:
        raise DeviceError(f"threads is {threads}; it must be at least 1")
    _native.check_isa(isa or "")


class CPUBackend:
    """Runs a model on the CPU by the numerics contract: logits do not depend on `threads`, `isa`, or the other rows.

    Ternary weights are copied to huge pages where that is faster, see `arena`: a layer before each step but the first,
    or all of them in `warm_up`. All other weights are used where they are; the backend keeps them alive.

    Threads: any thread may call any method, but only one at a time. A call raises DeviceError while another thread is
    in a method, because a second step would overwrite the logits of the first. `description`, `threads` and `isa` may
    be read at any time. Steps run on a fixed team of threads, without the GIL. A process that was forked after the
    backend was made cannot use it; it must make its own.

    After `close`, every method and property but `close` raises DeviceError.
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
            weights: The model's weights.
            threads: The largest number of threads; a step with little work runs on fewer. None means one for each
                physical core that this process may use.
            isa: One of `available_isas()`. None means the fastest.
            context_length: The longest sequence, in tokens. None means `config.max_position_embeddings`.

        Raises:
            CheckpointError: An array has the wrong dtype or shape; the message names it.
            DeviceError: `threads` is below 1, the processor lacks the instruction set, or the system refuses the
                threads.
        """
        check_settings(threads, isa)
        if threads is None:
            threads = physical_cores()
        if len(weights.layers) != config.num_hidden_layers:
            raise CheckpointError(
                f"the model has {len(weights.layers)} layers; its config asks for {config.num_hidden_layers}"
            )
        nodes = memory_nodes()
        _native.spread_memory(sum(1 << node for node in nodes) if len(nodes) > 1 else 0)
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
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._decoder: _native.Decoder | None = _native.Decoder(
            shape=shape,
            embedding=load_table("embed_tokens", weights.embed_tokens, config),
            layers=load_layers(weights.layers, config),
            norm=load_norm("norm", weights.norm, config.hidden_size),
            head=load_table("lm_head", weights.lm_head, config),
            cos=cos,
            sin=sin,
            threads=threads,
            thread_work=THREAD_WORK,
            isa=isa or "",
        )
        self._screens = (
            not isinstance(weights.lm_head, GroupedMatrix)
            and config.vocab_size * config.hidden_size * 2 > SMALL_HEAD_BYTES
            and config.hidden_size <= MAX_SCREENED_COLUMNS
        )
        self._mover = LayerMover(weights.layers, config, threads=threads, isa=isa or "")
        self._stepped = False
        self._whole_steps = _WHOLE_STEPS_AT_FIRST  # how many of the next steps compute whole rows
        self._free_buffers()

    def _free_buffers(self) -> None:
        """Drop the buffers for results; a step makes them again."""
        self._logits = np.empty((0, self._config.vocab_size), np.float32)
        self._candidate_logits = np.empty((0, _native.MAX_CANDIDATES), np.float32)
        self._candidate_ids = np.empty((0, _native.MAX_CANDIDATES), np.int32)

    @property
    def description(self) -> str:
        """Return a short text for people, such as `cpu (avx512_vnni, 8 threads)`."""
        return f"cpu ({self.isa}, {self.threads} thread{'s' if self.threads > 1 else ''})"

    @property
    def threads(self) -> int:
        """Return the largest number of threads that a step runs on."""
        return self._opened().threads

    @property
    def isa(self) -> str:
        """Return the instruction set in use, one of `available_isas()`."""
        return self._opened().isa

    def stats(self) -> BackendStats:
        """Return memory use, and figures of the last step; see `BackendStats`."""
        with self._exclusive() as decoder:
            return BackendStats(
                weight_bytes=decoder.weight_bytes,
                file_bytes=decoder.file_bytes,
                screen_bytes=decoder.screen_bytes,
                kv_cache_bytes=decoder.kv_cache_bytes,
                head_bytes_read=decoder.head_bytes_read,
                logits_computed=decoder.logits_computed,
            )

    def close(self) -> None:
        """Stop the threads and free the memory. Closing it again does nothing.

        Raises:
            DeviceError: Another thread is in a method, or this process was forked after the model was loaded.
        """
        with self._locked():
            self._decoder = None
            self._mover.clear()
            self._free_buffers()

    def allocate(self, num_blocks: int, block_size: int) -> None:
        """Reserve a KV cache, see `Backend.allocate`. Its pages take memory when they are first written.

        Raises:
            ValueError: `num_blocks` or `block_size` is below 1.
            DeviceError: This process may not have that much memory.
        """
        with self._exclusive() as decoder:
            if num_blocks < 1 or block_size < 1:
                raise ValueError(f"num_blocks ({num_blocks}) and block_size ({block_size}) must be at least 1")
            positions = num_blocks * block_size
            size, limit = positions * decoder.kv_bytes_per_position, memory_limit()
            if size > limit:
                raise DeviceError(
                    f"a key/value cache of {positions} positions takes {size / 2**30:.1f} GiB; "
                    f"this process may have {limit / 2**30:.1f} GiB: ask for a smaller context or batch"
                )
            decoder.allocate(num_blocks, block_size)

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        """Run one step; see `Backend.forward`.

        Returns:
            Logits, float32 [rows, vocab], valid until the next call.

        Raises:
            RequestError: A token id is outside the vocabulary, or a sequence is longer than the context.
            ValueError: The batch is wrong in another way; the message says how.
            TypeError: An array of the batch is not int32 or not C-contiguous.
            DeviceError: Another thread is in a method, or this process was forked after the backend was made.
        """
        with self._step() as decoder:
            return self._whole_rows(decoder, batch, len(batch.logit_rows))

    def _whole_rows(self, decoder: _native.Decoder, batch: Batch | None, rows: int) -> NDArray[np.float32]:
        """Run a step and return all its logits. None in place of a batch: its layers have run."""
        capacity = len(self._logits)
        if rows > capacity or (rows <= _KEPT_LOGIT_ROWS < capacity):
            self._logits = np.empty((max(rows, 1), self._config.vocab_size), np.float32)
        logits = self._logits[:rows]
        if batch is None:
            decoder.whole_rows(0, logits)
        else:
            decoder.forward(*_arrays(batch), logits)
        return logits

    def hidden(self, batch: Batch) -> NDArray[np.float32]:
        """Run one step without the lm_head; see `Backend.hidden`. Raises the errors of `forward`."""
        with self._step() as decoder:
            decoder.forward_layers(*_arrays(batch))
            states = np.empty((len(batch.logit_rows), self._config.hidden_size), np.float32)
            decoder.hidden(states)
            return states

    def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
        """Run one step; see `Backend.candidates`. Raises the errors of `forward`.

        A 6-bit copy of the lm_head, the screen, gives an upper bound for each logit; only logits that may pass are
        computed. See native/head/head.hpp. The second step makes the screen. If a filter allows few tokens, only their
        logits are computed; tokens that always pass are computed besides. See `rows`.
        """
        with self._step() as decoder:
            masked = any(limit.allowed is not None for limit in filters)
            if masked:  # the masks may still be computed meanwhile
                decoder.forward_layers(*_arrays(batch))
            plans = [plan_row(limit, self._config.vocab_size, screens=self._screens) for limit in filters]
            if masked and all(plan.screened is None for plan in plans):
                return [self._listed(decoder, row, plan) for row, plan in enumerate(plans)]
            if plans:
                self._whole_steps -= 1
            if not plans or not self._screens or self._whole_steps >= 0 or any(plan.needs_whole_row for plan in plans):
                return [Candidates(row) for row in self._whole_rows(decoder, None if masked else batch, len(plans))]
            return self._screened(decoder, None if masked else batch, plans)

    def start(self, batch: Batch) -> None:
        """Return None: this backend has no queue of steps."""
        self._opened()

    def _listed(self, decoder: _native.Decoder, row: int, plan: RowPlan) -> Candidates:
        """Compute the logits of a plan's listed tokens, for a row of the last step."""
        logits = np.empty(len(plan.listed), np.float32)
        decoder.listed(row, plan.listed, logits)
        return Candidates(logits, plan.listed.astype(np.int64))

    def _screened(self, decoder: _native.Decoder, batch: Batch | None, plans: Sequence[RowPlan]) -> list[Candidates]:
        """Run a step and return what its filters pass. None in place of a batch: its layers have run."""
        rows = len(plans)
        if rows > len(self._candidate_logits):
            self._candidate_logits = np.empty((rows, _native.MAX_CANDIDATES), np.float32)
            self._candidate_ids = np.empty((rows, _native.MAX_CANDIDATES), np.int32)
        counts = np.empty(rows, np.int32)
        find = decoder.candidates if batch is None else partial(decoder.forward_candidates, *_arrays(batch))
        find(
            *filter_arrays(plans, self._config.vocab_size),
            self._candidate_ids[:rows],
            self._candidate_logits[:rows],
            counts,
        )
        self._whole_steps = _WHOLE_STEPS_AFTER_OVERFLOW if (counts < 0).any() else 0
        return [
            self._found(decoder, row, plan, count)
            for row, (plan, count) in enumerate(zip(plans, counts.tolist(), strict=True))
        ]

    def _found(self, decoder: _native.Decoder, row: int, plan: RowPlan, count: int) -> Candidates:
        """Return the first `count` candidates that the screen found for a row, and the plan's listed tokens."""
        if count < 0:
            return Candidates(self._compute_row(decoder, row))
        if plan.screened is None:
            return self._listed(decoder, row, plan)
        logits = self._candidate_logits[row, :count]
        token_ids = self._candidate_ids[row, :count].astype(np.int64)
        if len(plan.listed):
            listed = self._listed(decoder, row, plan)
            token_ids = np.concatenate([token_ids, plan.listed.astype(np.int64)])
            order = np.argsort(token_ids)
            logits, token_ids = np.concatenate([logits, listed.logits])[order], token_ids[order]
        if plan.screened.noise is None:
            return Candidates(logits, token_ids)
        missing = _Screened(partial(self._upper_bounds, row), partial(self._logits_of, row))
        return Candidates(logits, token_ids, missing)

    def _upper_bounds(self, row: int) -> NDArray[np.float32]:
        """Return an upper bound of each logit of a row of the last step, float32 [vocab]; its filter had noise."""
        with self._exclusive() as decoder:
            bounds = np.empty(self._config.vocab_size, np.float32)
            decoder.upper_bounds(row, bounds)
            return bounds

    def _logits_of(self, row: int, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits of some tokens for a row of the last step, float32 [n]."""
        with self._exclusive() as decoder:
            if len(token_ids) * _WHOLE_ROW_SHARE >= self._config.vocab_size:
                return self._compute_row(decoder, row)[token_ids]
            logits = np.empty(len(token_ids), np.float32)
            decoder.listed(row, token_ids.astype(np.int32), logits)
            return logits

    def _compute_row(self, decoder: _native.Decoder, row: int) -> NDArray[np.float32]:
        logits = np.empty(self._config.vocab_size, np.float32)
        decoder.whole_rows(row, logits[None])
        return logits

    def start_profile(self) -> None:
        """Measure from now on where the time of each step goes. Without this, no clock is read."""
        with self._exclusive() as decoder:
            decoder.start_profile()

    def warm_up(self, max_sequences: int, progress: Callable[[int, int], None]) -> None:
        """Move all layers to where steps read them fastest."""
        with self._exclusive() as decoder:
            layers = len(self._mover)
            for done in range(1, layers + 1):
                self._mover.move(decoder)
                progress(done, layers)

    def stop_profile(self) -> list[PhaseTime]:
        """Stop measuring; return the times since `start_profile`, in the order of a step."""
        with self._exclusive() as decoder:
            return [PhaseTime(*row) for row in decoder.stop_profile()]

    def _opened(self) -> _native.Decoder:
        decoder = self._decoder
        if decoder is None:
            raise DeviceError("this CPU backend is closed; load the model again")
        return decoder

    @contextmanager
    def _exclusive(self) -> Iterator[_native.Decoder]:
        """Give the decoder to one thread at a time."""
        with self._locked():
            yield self._opened()

    @contextmanager
    def _step(self) -> Iterator[_native.Decoder]:
        """Give the decoder to one thread for a step. Before each step but the first, a layer moves."""
        with self._exclusive() as decoder:
            if self._stepped and self._mover:
                self._mover.move(decoder)
            yield decoder
            self._stepped = True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if os.getpid() != self._process:  # a thread that is not in this process may hold the lock
            raise DeviceError(FORKED)
        # A second thread gets an error instead of waiting: its step would overwrite the logits of the first one.
        if not self._lock.acquire(blocking=False):
            raise DeviceError("the CPU backend is running a step in another thread; use one engine for all requests")
        try:
            yield
        finally:
            self._lock.release()


@dataclass(frozen=True, slots=True)
class _Screened:
    """The logits of a row that the screen ruled out, see `MissingLogits`."""

    upper_bounds: Callable[[], NDArray[np.float32]]
    compute: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    has_winner: bool = True


def _arrays(batch: Batch) -> tuple[_Ints, _Ints, _Ints, _Ints, _Ints]:
    """Return the arrays of a batch in the order in which native code takes them."""
    return batch.token_ids, batch.starts, batch.positions, batch.block_tables, batch.logit_rows
