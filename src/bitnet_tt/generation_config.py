"""GenerationConfig: how to pick tokens and when to stop, with every default and every check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Self, TypedDict, Unpack

from bitnet_tt.checks import is_int, is_number, require
from bitnet_tt.errors import ConfigError


class GenerationOptions(TypedDict, total=False):
    """The fields of `GenerationConfig` as keyword arguments, for type checkers and editors."""

    max_new_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float] | Sequence[tuple[int, float]] | None
    stop: Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    ignore_eos: bool
    seed: int | None
    logprobs: int | None


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """The settings of a generation: how to pick tokens and when to stop. The default is greedy.

    Attributes:
        max_new_tokens: Maximum number of tokens to generate. None means as many as the context holds.
        temperature: 0 is greedy: always the most probable token. Otherwise logits are divided by the temperature.
        top_k: Keep the k most probable tokens; 0 keeps all.
        top_p: Keep the most probable tokens whose probabilities sum to at least this (nucleus sampling, arXiv
            1904.09751); 1 keeps all.
        min_p: Keep tokens at least this fraction as probable as the most probable one (arXiv 2407.01082); 0 keeps all.
        repetition_penalty: Divides the positive logits of tokens that are already in the text, and multiplies their
            negative ones (arXiv 1909.05858); 1 changes nothing.
        presence_penalty: Subtracted from the logit of each token that was generated before, from -2 to 2; 0 changes
            nothing. The prompt does not count, as in OpenAI's interface.
        frequency_penalty: The same, times how often the token was generated.
        logit_bias: Numbers from -100 to 100 that are added to the logits of tokens, by token id. -100 bans a token; if
            tokens have 100, only they can be picked. None is an empty mapping. Once the object exists, it is a tuple
            of pairs (token id, bias) with rising ids.
        stop: Strings that end the text. They are not part of the result. One string is a list of one; None is
            an empty list, here and in `stop_token_ids`. Once the object exists, both are tuples.
        stop_token_ids: Ids that end the text, besides the model's own.
        ignore_eos: Continue after the model's end-of-text ids.
        seed: Seed of the request's own random numbers. The same seed gives the same text on every machine. None takes
            a new seed each time.
        logprobs: Report the log-probability of each token and of this many most probable tokens, at most 100. None
            reports nothing.
    """

    max_new_tokens: int | None = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | Sequence[tuple[int, float]] | None = ()
    stop: Sequence[str] | None = ()
    stop_token_ids: Sequence[int] | None = ()
    ignore_eos: bool = False
    seed: int | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: A value is out of range; the message names the field.
        """
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        for name in ("stop", "stop_token_ids"):
            values = getattr(self, name)
            require(name, values, "a list", values is None or isinstance(values, Iterable))
            object.__setattr__(self, name, () if values is None else tuple(values))
        if self.max_new_tokens is not None:
            require("max_new_tokens", self.max_new_tokens, "a positive integer", is_int(self.max_new_tokens, 1))
        require("temperature", self.temperature, "0 (greedy) or a positive number", is_number(self.temperature, 0.0))
        require("top_k", self.top_k, "0 (off) or a positive integer", is_int(self.top_k, 0))
        require("top_p", self.top_p, "above 0 and at most 1", is_number(self.top_p, 0.0, 1.0) and self.top_p > 0)
        require("min_p", self.min_p, "between 0 and 1", is_number(self.min_p, 0.0, 1.0))
        penalty = self.repetition_penalty
        require("repetition_penalty", penalty, "a positive number", is_number(penalty, 0.0) and penalty > 0)
        for name in ("presence_penalty", "frequency_penalty"):
            value = getattr(self, name)
            require(name, value, "a number from -2 to 2", is_number(value, -2.0, 2.0))
        object.__setattr__(self, "logit_bias", _checked_bias(self.logit_bias))
        for text in self.stop or ():
            require("stop", text, "non-empty strings", isinstance(text, str) and text != "")
        token_ids = self.stop_token_ids or ()
        for token_id in token_ids:
            require("stop_token_ids", token_id, "token ids", is_int(token_id, 0))
        if self.seed is not None:
            require("seed", self.seed, "an integer from 0 to 2**64 - 1", is_int(self.seed, 0, 2**64 - 1))
        if self.logprobs is not None:
            require("logprobs", self.logprobs, "None or an integer from 0 to 100", is_int(self.logprobs, 0, 100))
        object.__setattr__(self, "stop_token_ids", tuple(map(int, token_ids)))
        for field in fields(self):  # NumPy's numbers become Python's: they would overflow in arithmetic
            value = getattr(self, field.name)
            if isinstance(value, Real) and not isinstance(value, bool | int | float):
                object.__setattr__(self, field.name, int(value) if isinstance(value, Integral) else float(value))

    def with_options(self, **options: Unpack[GenerationOptions]) -> Self:
        """Return a copy with some fields changed.

        Raises:
            ConfigError: An option does not exist, or a value is out of range.
        """
        known = [field.name for field in fields(self)]
        for name in options:
            if name not in known:
                raise ConfigError(f"unknown generation option {name!r}; there are: {', '.join(known)}")
        return replace(self, **options)


def _checked_bias(bias: object) -> tuple[tuple[int, float], ...]:
    """Return `GenerationConfig.logit_bias` as a tuple of pairs with rising token ids.

    Raises:
        ConfigError: It is no mapping, or an id or a number is out of range.
    """
    if bias is None:
        return ()
    try:
        pairs = dict(bias)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise ConfigError(f"logit_bias must be a mapping from token ids to numbers, not {bias!r}") from None
    for token_id, value in pairs.items():
        require("logit_bias", token_id, "a mapping from token ids", is_int(token_id, 0))
        require("logit_bias", value, "a mapping to numbers from -100 to 100", is_number(value, -100.0, 100.0))
    return tuple(sorted((int(token_id), float(value)) for token_id, value in pairs.items()))
