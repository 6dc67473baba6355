"""What a benchmark finds out: the fields of its JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from bitnet_tt.bench.report.published import Reported


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of repeated measurements."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The spread of one or more values."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])


@dataclass(frozen=True, slots=True)
class Roof:
    """What this machine allows a number of threads.

    Attributes:
        threads: How many.
        read_gb_s: 10^9 bytes a second read from memory, in order.
        int8_gops: 10^9 int8 multiplications and additions a second.
    """

    threads: int
    read_gb_s: Spread
    int8_gops: Spread


@dataclass(frozen=True, slots=True)
class Speed:
    """One phase at one setting. What cannot be known is None.

    Attributes:
        threads: CPU threads.
        batch: Sequences computed at once.
        tokens_per_s: Of all sequences together; median over the repeats.
        least: The slowest repeat.
        greatest: The fastest repeat.
        bytes_per_step: Weights, keys and values that a step of generation has to read, as the backend counts them.
        head_rows_rescored: Share of the lm_head's rows that a step of generation computed in bfloat16, the mean of its
            texts; median over the steps. 1.0 where whole rows are computed.
        bandwidth_share: Those bytes in the time of a step, as a share of the machine's read bandwidth.
        int8_share: The products of the ternary weights, as a share of the machine's int8 peak.
        joules_per_token: Energy of the processor's packages and memory.
    """

    threads: int
    batch: int
    tokens_per_s: float
    least: float
    greatest: float
    bytes_per_step: int | None = None
    head_rows_rescored: float | None = None
    bandwidth_share: float | None = None
    int8_share: float | None = None
    joules_per_token: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a step, all its calls together.

    Attributes:
        name: What is computed.
        seconds: Its time in one step.
        waiting_s: How much of that a thread waited for others; the mean of the threads.
        bytes_read: What it has to read from memory in one step.
    """

    name: str
    seconds: float
    waiting_s: float
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a step goes.

    Attributes:
        phase: `prefill` or `decode`.
        threads: CPU threads.
        batch: Sequences computed at once.
        parts: In the order of a step.
        head_rows_rescored: As in `Speed`; None for a prompt.
    """

    phase: str
    threads: int
    batch: int
    parts: tuple[Part, ...]
    head_rows_rescored: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a fresh process that loaded the model, read the prompt and generated one smallest batch.

    Attributes:
        peak_rss_bytes: Most that was resident, of mapped files too.
        weight_bytes: The weights in the form in which they are used; if not on the CPU, their files.
        file_bytes: Of these, what stays in the file, of which single rows are read; None if not on the CPU.
        screen_bytes: The copy of the lm_head in 6 bits; 0 where whole rows are computed, None if not on the CPU.
        kv_cache_bytes: Room for the keys and values of that batch; None if not on the CPU.
        interpreter_bytes: What was resident before the model was opened: Python and its libraries.
    """

    peak_rss_bytes: int
    weight_bytes: int
    file_bytes: int | None
    screen_bytes: int | None
    kv_cache_bytes: int | None
    interpreter_bytes: int


@dataclass(frozen=True, slots=True)
class Busy:
    """The same measurement while other processes spin; decode is of the smallest batch.

    Attributes:
        processes: How many of them.
        prefill: One entry a number of threads.
        decode: One entry a number of threads.
    """

    processes: int
    prefill: tuple[Speed, ...]
    decode: tuple[Speed, ...]


@dataclass(frozen=True, slots=True)
class PeerResult:
    """Another program on the same shape; `bandwidth_share` is of its own bytes.

    Attributes:
        name: The program.
        version: Its version.
        format: How its weights are stored.
        weight_bytes: The size of its file.
        load_s: Seconds to load it.
        peak_rss_bytes: As in `Memory`.
        prefill: Speed of reading prompts.
        decode: Speed of generating, one entry a batch.
    """

    name: str
    version: str
    format: str
    weight_bytes: int
    load_s: float
    peak_rss_bytes: int
    prefill: Speed
    decode: tuple[Speed, ...]


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What was measured.

    Attributes:
        device: The backend's description of itself.
        prompt_length: Tokens of the prompts whose reading is timed.
        context: Tokens before the first generated one.
        new_tokens: Tokens generated of each sequence.
        ternary_bytes: Of the linears, at 2 bits a weight.
        operations_per_token: int8 multiplications and additions of the linears.
        load_s: Seconds from opening the files to a model that can run, all weights checked.
        first_token_s: Seconds from opening the files to the first token of a 16-token prompt.
        memory: Of the run with the most threads, as `load_s` and `first_token_s` are.
        energy: Where `joules_per_token` comes from, or why it is not there.
        roofs: What the machine allows, one entry a number of threads; none for a device that is not the CPU.
        prefill: Speed of reading prompts, one entry a number of threads.
        decode: Speed of generating, one entry a number of threads and batch.
        busy: The same beside other processes, if asked for.
        profiles: Where a step's time goes, one prefill and one decode step a number of threads.
        peers: Other programs, if asked for.
        reported: For a model of 2B4T's shape, what its authors report of it and of others.
    """

    device: str
    prompt_length: int
    context: int
    new_tokens: int
    ternary_bytes: int
    operations_per_token: int
    load_s: float
    first_token_s: float
    memory: Memory
    energy: str
    roofs: tuple[Roof, ...]
    prefill: tuple[Speed, ...]
    decode: tuple[Speed, ...]
    busy: Busy | None = None
    profiles: tuple[Profile, ...] = ()
    peers: tuple[PeerResult, ...] = ()
    reported: tuple[Reported, ...] = ()
