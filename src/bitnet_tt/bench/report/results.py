"""The results of a benchmark. The names of the fields are the keys of its JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from bitnet_tt.bench.report.extra_results import RowsCost, Stall, Start
from bitnet_tt.bench.report.published import PublishedFigures


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest (`least`) and highest (`greatest`) of repeated measurements."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the spread of one or more values."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])


@dataclass(frozen=True, slots=True)
class Roof:
    """The limits of this machine with a number of CPU threads.

    Attributes:
        threads: The number of threads.
        read_gb_s: Read bandwidth: 10^9 bytes per second from memory, in order.
        int8_gops: int8 peak: 10^9 operations per second. A multiplication and its addition are two operations.
    """

    threads: int
    read_gb_s: Spread
    int8_gops: Spread


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of one phase with one setting. A value that cannot be known is None.

    Attributes:
        threads: CPU threads.
        batch: Sequences computed at once.
        tokens_per_s: Tokens per second of all sequences together; median over the repeats.
        least: Tokens per second of the slowest repeat.
        greatest: Tokens per second of the fastest repeat.
        bytes_per_step: Bytes of weights, keys and values that a decode step must read, as the backend counts them.
        head_rows_rescored: Share of the lm_head's rows that a decode step computed in bfloat16: the mean over its
            sequences, the median over the steps. 1.0 if it computes all rows.
        bandwidth_share: `bytes_per_step` divided by the time of a step, as a share of the machine's read bandwidth.
        int8_share: Operations of the ternary products per second, as a share of the machine's int8 peak.
        joules_per_token: Energy of the processor's packages and memory, not of a card.
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
    """One kind of phase of a step, such as `attend`, over all layers.

    Attributes:
        name: The name of the phase.
        seconds: Time of the phase in one step.
        waiting_s: The part of `seconds` that a thread waited for other threads; the mean over the threads.
        bytes_read: Bytes that the phase must read from memory in one step.
    """

    name: str
    seconds: float
    waiting_s: float
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The time of a step, split into its parts.

    Attributes:
        phase: `prefill` or `decode`.
        threads: CPU threads.
        batch: Sequences computed at once.
        parts: The parts, in the order of a step.
        head_rows_rescored: As in `Speed`; None for a prefill.
    """

    phase: str
    threads: int
    batch: int
    parts: tuple[Part, ...]
    head_rows_rescored: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a fresh process that loaded the model, read the prompt and generated the smallest batch.

    Attributes:
        peak_rss_bytes: Peak of the resident memory, pages of mapped files included.
        weight_bytes: The weights in the form in which they are multiplied; if not on the CPU, the size of their files.
        file_bytes: The part of `weight_bytes` that stays in the file, from which single rows are read; None if not on
            the CPU.
        screen_bytes: The 6-bit copy of the lm_head; 0 if all rows are computed, None if not on the CPU.
        kv_cache_bytes: The KV cache for that batch; None if not on the CPU.
        interpreter_bytes: Resident memory before the model was opened: Python and its libraries.
    """

    peak_rss_bytes: int
    weight_bytes: int
    file_bytes: int | None
    screen_bytes: int | None
    kv_cache_bytes: int | None
    interpreter_bytes: int


@dataclass(frozen=True, slots=True)
class CardPower:
    """The power of a Tenstorrent card while it generates. A value that tt-smi does not report is None.

    Attributes:
        batch: Sequences generated at once.
        samples: How many answers of tt-smi came during the generation.
        board_watts: Mean power of the whole board.
        chip_watts: Mean power of the chip alone.
        megahertz: Highest clock of the chip.
        tokens_per_board_joule: Tokens of all sequences together for each joule of the board.
        tokens_per_chip_joule: The same for the chip alone.
    """

    batch: int
    samples: int
    board_watts: float | None
    chip_watts: float | None
    megahertz: float | None
    tokens_per_board_joule: float | None
    tokens_per_chip_joule: float | None


@dataclass(frozen=True, slots=True)
class CardReport:
    """What a reader needs to know of a card and its software, and the power of the card.

    Attributes:
        versions: Versions of the software and the firmware, by name.
        boards: The type of each board, such as `p150a`; empty without telemetry.
        tdp_limit_watts: The chip's TDP limit; None if unknown.
        board_limit_watts: The board's limit of power; None if unknown.
        power: One entry for each batch; empty without telemetry.
        note: How the power was measured, or why it was not.
    """

    versions: dict[str, str]
    boards: tuple[str, ...]
    tdp_limit_watts: float | None
    board_limit_watts: float | None
    power: tuple[CardPower, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Busy:
    """The same measurement while other processes use the CPU.

    Attributes:
        processes: The number of those processes.
        prefill: Speed of reading prompts, one entry for each number of threads.
        decode: Speed of generating the smallest batch, one entry for each number of threads.
    """

    processes: int
    prefill: tuple[Speed, ...]
    decode: tuple[Speed, ...]


@dataclass(frozen=True, slots=True)
class SamplingSpeed:
    """The speed of generating one text with some sampling settings.

    Attributes:
        name: The settings.
        threads: CPU threads.
        tokens_per_s: The median over the steps.
        share: The same in relation to greedy picks.
        head_rows: The share of the lm_head's rows that a step computed, the median over the steps.
    """

    name: str
    threads: int
    tokens_per_s: float
    share: float
    head_rows: float


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """The result of a benchmark. `load_s`, `first_token_s` and `memory` are those of the last number of threads.

    Attributes:
        device: The backend's description.
        prompt_length: Tokens of the prompt whose prefill is timed.
        context: Tokens of a sequence before its first generated token.
        new_tokens: Tokens generated for each sequence.
        ternary_bytes: Bytes of the ternary weights, at 2 bits each.
        operations_per_token: int8 operations of the ternary products; a multiplication and its addition are two.
        load_s: Seconds from opening the files until the model can run. All weights are checked in this time.
        first_token_s: Seconds from opening the files to the first token after a 16-token prompt.
        memory: The memory of the process.
        energy: How `joules_per_token` was measured, or why it was not.
        roofs: The limits of the machine, one entry for each number of threads; empty if the device is not the CPU.
        prefill: Speed of reading prompts, one entry for each number of threads.
        decode: Speed of generating, one entry for each number of threads and batch.
        busy: The same measurement beside other processes; None if it was not asked for.
        sampling: Speeds with sampling settings, for each number of threads; empty if they were not asked for.
        verify_rows: Times of steps with several rows, likewise.
        stalls: Stalls of running texts, likewise.
        starts: Times from the start of the program to its first token, likewise.
        profiles: The time of a step, split: for each number of threads, one prefill and one decode step of each batch.
        card: The Tenstorrent card and its power; None on another device.
        reported: For a model of 2B4T's shape, what its authors published of it and of other models.
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
    sampling: tuple[SamplingSpeed, ...] = ()
    verify_rows: tuple[RowsCost, ...] = ()
    stalls: tuple[Stall, ...] = ()
    starts: tuple[Start, ...] = ()
    profiles: tuple[Profile, ...] = ()
    card: CardReport | None = None
    reported: tuple[PublishedFigures, ...] = ()
