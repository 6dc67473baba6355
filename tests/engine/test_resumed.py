"""A text that another engine began goes on as if this one had begun it."""

from collections.abc import Iterator
from typing import Any

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import RequestError
from bitnet_tt.generation import Piece
from bitnet_tt.server.structured_output import GrammarCompiler

PROMPT = "Once upon a time"
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "top-p": {"temperature": 0.9, "top_p": 0.9, "seed": 1},
    "penalties": {"temperature": 0.8, "presence_penalty": 1.5, "frequency_penalty": 0.5, "seed": 2},
    "repetition": {"temperature": 1.2, "top_k": 20, "repetition_penalty": 1.3, "seed": 3},
    "stop": {"temperature": 1.0, "seed": 4, "stop": ["the", "and then"]},
    "logprobs": {"temperature": 1.0, "min_p": 0.05, "seed": 5, "logprobs": 3},
}


@pytest.fixture(scope="module", params=["whole rows", "screened"])
def model(request: pytest.FixtureRequest) -> Iterator[BitNetModel]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "screened":  # the screen of a large lm_head leaves out logits
            patch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
        model = BitNetModel.from_pretrained("demo", speculate=True)
    with model:
        yield model


def run(model: BitNetModel, config: GenerationConfig, **options: Any) -> list[Piece]:
    request = model.engine.request(model.tokenizer.encode(PROMPT), config, **options)
    return list(model.engine.outputs(request))


def parts(pieces: list[Piece]) -> list[tuple[object, ...]]:
    return [(piece.text, piece.token_ids, piece.finish_reason, piece.logprobs) for piece in pieces]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_resumed_text_is_the_unbroken_one(model, name) -> None:
    config = GenerationConfig(max_new_tokens=40, **SETTINGS[name])
    whole = run(model, config)
    tokens = [token_id for piece in whole for token_id in piece.token_ids]
    for cut in sorted({1, len(tokens) // 2, len(tokens) - 1}):
        resumed = run(model, config, resumed=tokens[:cut])
        assert parts(resumed) == parts(whole[cut:])
        assert resumed[-1].timings.generated_tokens == len(tokens)
        assert resumed[-1].timings.first_token_seconds > 0


def test_a_grammar_takes_the_resumed_tokens(model) -> None:
    ends = frozenset(model.tokenizer.eos_token_ids)
    grammar = GrammarCompiler(model.tokenizer, model.config.vocab_size, ends).from_regex("(ab|cd){8}")
    config = GenerationConfig(max_new_tokens=60, temperature=1.5, seed=1)
    whole = run(model, config, constraint=grammar.constraint())
    tokens = [token_id for piece in whole for token_id in piece.token_ids]
    text = "".join(piece.text for piece in whole)
    assert len(text) == 16
    for cut in range(1, len(tokens)):
        resumed = run(model, config, resumed=tokens[:cut], constraint=grammar.constraint())
        assert parts(resumed) == parts(whole[cut:])


def test_a_text_without_a_token_left_is_refused(model) -> None:
    with pytest.raises(RequestError, match="3 tokens were generated already; max_new_tokens is 3"):
        run(model, GenerationConfig(max_new_tokens=3), resumed=[5, 6, 7])
    with pytest.raises(RequestError, match="outside the vocabulary"):
        run(model, GenerationConfig(max_new_tokens=3), resumed=[model.config.vocab_size])
