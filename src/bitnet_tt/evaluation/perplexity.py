"""The perplexity of a long text, in the windows of llama.cpp's llama-perplexity, so that figures can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bitnet_tt.errors import RequestError
from bitnet_tt.model import BitNetModel

CONTEXT = 512
"""The tokens of a window, if none are given."""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """The perplexity of a text.

    Attributes:
        perplexity: exp of the mean negative log-likelihood of the scored tokens.
        error: The standard error of `perplexity`, as if the tokens were independent.
        tokens: The tokens of the text, its beginning-of-text token included.
        scored: How many of them were scored.
        windows: The number of windows.
        context: The tokens of a window.
        stride: The tokens from the start of a window to the start of the next.
    """

    perplexity: float
    error: float
    tokens: int
    scored: int
    windows: int
    context: int
    stride: int


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that is computed by itself.

    Attributes:
        token_ids: Its tokens.
        first: The index of the first token that is scored. Those before it are only read.
    """

    token_ids: Sequence[int]
    first: int


def cut_windows(
    token_ids: Sequence[int], context: int = CONTEXT, stride: int | None = None, bos: int | None = None
) -> Iterator[Window]:
    """Cut a text into the windows of llama-perplexity.

    Without a stride, windows do not overlap. Each begins with the beginning-of-text token in place of its own first
    token, and its second half is scored. A rest that fills no window is left out.

    With a stride, as with `--ppl-stride`, windows are longer by half of it, each begins `stride` tokens after the one
    before it, and its last `stride` tokens are scored. Only the first begins with the beginning-of-text token.

    Args:
        token_ids: The text, from its beginning-of-text token on if it has one.
        context: The tokens of a window; with a stride, less half of it.
        stride: The tokens that each window scores; None scores the second half.
        bos: The beginning-of-text token; None if the tokenizer puts none before a text.
    """
    if stride is None:
        for start in range(0, len(token_ids) - context + 1, context):
            own = token_ids[start : start + context]
            yield Window(own if bos is None else [bos, *own[1:]], context // 2 + 1)
        return
    length = context + stride // 2
    for start in range(0, len(token_ids) - length, stride):
        yield Window(token_ids[start : start + length], length - stride)


def measure_perplexity(
    model: BitNetModel,
    text: str,
    *,
    context: int = CONTEXT,
    stride: int | None = None,
    max_windows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Perplexity:
    """Return the perplexity of a text, as llama-perplexity defines it. Control tokens in the text are text.

    Args:
        model: The model. Its context must hold a window: `context` tokens, and half of the stride.
        text: The text.
        context: See `cut_windows`.
        stride: See `cut_windows`.
        max_windows: Stop after this many windows. None reads the whole text.
        progress: Called with (windows done, windows in all).

    Raises:
        RequestError: The text is too short, or a setting is out of range.
        DeviceError: The model is closed, or the device failed.
    """
    length = context + (stride or 0) // 2
    if context < 4 or (stride is not None and not 1 <= stride < length):
        raise RequestError(
            f"context is {context} and stride {stride}; a context is at least 4, and a stride is below it"
        )
    tokenizer = model.tokenizer
    bos = tokenizer.bos_token_id if tokenizer.add_bos else None
    token_ids = [*([] if bos is None else [bos]), *tokenizer.encode(text, add_bos=False, parse_special=False)]
    if len(token_ids) < 2 * length:
        raise RequestError(
            f"the text has {len(token_ids)} tokens, but a perplexity in windows of {length} needs at least "
            f"{2 * length}; give a longer text, or a smaller context"
        )
    windows = list(cut_windows(token_ids, context, stride, bos))[:max_windows]
    losses: list[float] = []
    for done, window in enumerate(windows, 1):
        scores = model.engine.score(window.token_ids, first=window.first)
        losses += [-score.logprob for score in scores]
        if progress is not None:
            progress(done, len(windows))
    mean = math.fsum(losses) / len(losses)
    variance = math.fsum(loss * loss for loss in losses) / len(losses) - mean * mean
    return Perplexity(
        perplexity=math.exp(mean),
        error=math.exp(mean) * math.sqrt(max(variance, 0.0) / max(len(losses) - 1, 1)),
        tokens=len(token_ids),
        scored=len(losses),
        windows=len(windows),
        context=context,
        stride=context if stride is None else stride,
    )
