"""What is measured, and the result of one measurement."""

from __future__ import annotations

from dataclasses import dataclass

PROMPT = "Once upon a time"


@dataclass(frozen=True, slots=True)
class Work:
    """Some streams at once, each of one prompt, sampled at temperature 1.

    Attributes:
        streams: How many.
        tokens: New tokens of each; the end of a text does not end it.
    """

    streams: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        seconds: From the first request to the end of the last answer.
        first_token_seconds: For each stream, from its request to its first text.
        client_cpu_seconds: CPU time of the client; 0 where there is none.
        program_cpu_seconds: CPU time of the program that is measured; 0 if it was not read.
    """

    seconds: float
    first_token_seconds: tuple[float, ...]
    client_cpu_seconds: float = 0.0
    program_cpu_seconds: float = 0.0
