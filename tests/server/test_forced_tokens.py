"""With real grammars, texts, usage and log-probabilities are the same whether forced tokens take steps or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bitnet_tt.config import GenerationConfig
from tests.engine.small_engine import results

pytest.importorskip("llguidance", reason="llguidance is not installed; it is part of the extra [server]")
from bitnet_tt.server.structured_output import GrammarCompiler, GrammarConstraint

RECORD = {
    "type": "object",
    "properties": {"customer_identifier": {"type": "integer"}, "is_active": {"type": "boolean"}},
    "required": ["customer_identifier", "is_active"],
    "additionalProperties": False,
}
SCHEMAS: list[dict[str, Any]] = [
    RECORD,
    {"type": "array", "items": RECORD, "minItems": 2, "maxItems": 2},
    {"enum": ["the first of the choices", "the first of the two choices", "no choice"]},
    {"type": "string", "pattern": "^(good|bad) morning, [a-z]{1,5}$"},
    {"const": "the very same words " * 12},
]
SETTINGS = [
    GenerationConfig(max_new_tokens=60),
    GenerationConfig(max_new_tokens=60, temperature=1.0, seed=1),
    GenerationConfig(max_new_tokens=60, temperature=0.8, top_p=0.9, repetition_penalty=1.3, seed=2),
    GenerationConfig(max_new_tokens=60, temperature=1.0, seed=3, logprobs=2),
    GenerationConfig(max_new_tokens=60, temperature=1.0, seed=4, stop=["er", "wo"]),
    GenerationConfig(max_new_tokens=9, temperature=1.0, seed=5, logit_bias={300: 5.0}),
]


class StepByStep:
    """The same constraint, but it never says that a token is forced."""

    def __init__(self, constraint: GrammarConstraint) -> None:
        self._constraint = constraint

    def mask(self) -> np.ndarray:
        return self._constraint.mask()

    def forced(self) -> int | None:
        return None

    def accept(self, token_id: int) -> None:
        self._constraint.accept(token_id)


def test_forced_tokens_change_nothing_but_the_number_of_steps(demo) -> None:
    ends = frozenset(demo.tokenizer.eos_token_ids)
    compiler = GrammarCompiler(demo.tokenizer, demo.config.vocab_size, ends)
    prompt = demo.tokenizer.encode("Once upon a time")
    grammars = [compiler.from_json_schema(schema) for schema in SCHEMAS]

    def run(step_by_step: bool) -> tuple[list[object], int]:
        before = demo.engine.stats().steps
        made = [grammar.constraint() for grammar in grammars for _ in SETTINGS]
        requests = [
            demo.engine.request(prompt, config, constraint=StepByStep(one) if step_by_step else one)
            for one, config in zip(made, SETTINGS * len(grammars), strict=True)
        ]
        return results(demo.engine, requests), demo.engine.stats().steps - before

    (found, steps), (expected, more_steps) = run(step_by_step=False), run(step_by_step=True)
    assert found == expected
    assert steps < more_steps
