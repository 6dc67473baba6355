"""The time to the first token is that of the real program, and its parts add up to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitnet_tt.bench.measure.start import PROMPT_TOKENS, measure_start, prompt_of
from bitnet_tt.bench.synthetic import synthetic_checkpoint
from bitnet_tt.checkpoint import resolve
from bitnet_tt.errors import BenchmarkError, TokenizerError
from bitnet_tt.tokenizer import Tokenizer
from tests.bench.small import SHAPE


def test_the_prompt_has_sixteen_tokens() -> None:
    tokenizer = Tokenizer.from_path(resolve("demo"))
    text, tokens = prompt_of(tokenizer)
    assert len(tokenizer.encode(text)) == tokens == PROMPT_TOKENS


def test_the_parts_add_up() -> None:
    (start,) = measure_start(resolve("demo"), [1], device="cpu", isa="scalar", repeats=1)
    assert (start.threads, start.prompt_tokens) == (1, 16)
    assert start.least == start.seconds == start.greatest
    assert start.import_s + start.load_s + start.first_step_s == pytest.approx(start.seconds)
    assert min(start.import_s, start.first_step_s, start.tokenizer_s, start.weights_s) > 0
    assert max(start.tokenizer_s, start.weights_s) < start.load_s


def test_the_programs_own_error_is_passed_on() -> None:
    with pytest.raises(BenchmarkError, match=r"bitnet-tt generate failed: .*9isa"):
        measure_start(resolve("demo"), [1], device="cpu", isa="9isa", repeats=1)


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no tokenizer in"):
        measure_start(synthetic_checkpoint(SHAPE, tmp_path), [1], device="cpu", isa=None, repeats=1)
