"""The results of measurements that a benchmark makes on request. The names of the fields are the keys of its JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowsCost:
    """The time of a step with several rows, beside that of a step with one row.

    Attributes:
        threads: CPU threads.
        context: Tokens of each sequence before the rows.
        sequences: Sequences in the step.
        rows: Rows of each sequence: its last token, and drafts to verify if there is more than one.
        seconds: Time of the step; the median over the rounds.
        multiple: The same in relation to one row of one sequence.
    """

    threads: int
    context: int
    sequences: int
    rows: int
    seconds: float
    multiple: float


@dataclass(frozen=True, slots=True)
class Stall:
    """How long running texts wait while the engine reads a prompt.

    Attributes:
        threads: CPU threads.
        texts: Texts that run.
        context: Tokens of each text before its first generated token.
        prompt_length: Tokens of the prompt.
        step_s: The mean seconds between two tokens of a text without the prompt.
        step_beside_s: The mean seconds between two tokens of a text while the prompt is read.
        longest_gap_s: The most seconds between two tokens of a text while the prompt is read, in any repeat.
        prompt_s: Seconds from handing the prompt in to its first token; the median over the repeats.
    """

    threads: int
    texts: int
    context: int
    prompt_length: int
    step_s: float
    step_beside_s: float
    longest_gap_s: float
    prompt_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """The time from the start of the program `bitnet-tt generate` to its first token. Parts are medians in seconds.

    The tokenizer and the weights are parts of `load_s`.

    Attributes:
        threads: CPU threads.
        prompt_tokens: Tokens of the prompt.
        seconds: The whole time; the median over the repeats.
        least: Seconds of the fastest repeat.
        greatest: Seconds of the slowest repeat.
        import_s: Starting Python, importing modules, and whatever the other parts leave.
        load_s: Loading the model, from opening its files until it can run.
        tokenizer_s: Reading the tokenizer.
        weights_s: Opening the weights and checking all of them.
        first_step_s: From queueing the prompt to its first token.
    """

    threads: int
    prompt_tokens: int
    seconds: float
    least: float
    greatest: float
    import_s: float
    load_s: float
    tokenizer_s: float
    weights_s: float
    first_step_s: float
