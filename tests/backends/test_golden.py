"""The CPU backend, through the engine, equals transformers on the golden checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine
from bitnet_tt.reference.compare import CLEAR_MARGIN, CONTRACT, compare_logits
from tests import golden_checkpoints as golden


def make_engine(folder: Path, isa: str | None = None) -> Engine:
    checkpoint = Checkpoint.open(folder)
    backend = CPUBackend(checkpoint.config, checkpoint.load_weights(), context_length=128, isa=isa)
    return Engine(backend, vocab_size=checkpoint.config.vocab_size, context_length=128)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("name", [*golden.NAMES, golden.BONSAI])
def test_logits_equal_transformers(name: str, isa: str) -> None:
    expected, engine = golden.expected(name), make_engine(golden.FOLDER / name, isa)
    logits = np.stack([engine.logits(ids.tolist()) for ids in expected["input_ids"]])
    agreement = compare_logits(logits, expected["logits"])
    assert agreement.meets(CONTRACT), agreement


@pytest.mark.parametrize("name", [*golden.NAMES, golden.BONSAI])
def test_greedy_tokens_equal_transformers(name: str) -> None:
    """Compares the token after each of transformers' tokens, where transformers' own choice was clear."""
    expected, engine = golden.expected(name), make_engine(golden.FOLDER / name)
    prompt, ids, margins = (expected[key] for key in ("greedy_prompt", "greedy_ids", "greedy_margin"))
    picks = greedy_picks(engine, [*prompt.tolist(), *ids.tolist()])[len(prompt) - 1 : -1]
    clear = margins > CLEAR_MARGIN * expected["logits"].std()
    assert np.array_equal(picks[clear], ids[clear])


@pytest.mark.parametrize("name", [*golden.NAMES, golden.BONSAI])
def test_decode_picks_what_prefill_would(name: str) -> None:
    prompt, engine = golden.expected(name)["greedy_prompt"].tolist(), make_engine(golden.FOLDER / name)
    config = GenerationConfig(max_new_tokens=40, ignore_eos=True)
    tokens = [token for piece in engine.outputs(engine.request(prompt, config)) for token in piece.token_ids]
    assert greedy_picks(engine, prompt + tokens)[len(prompt) - 1 : -1].tolist() == tokens


def greedy_picks(engine: Engine, token_ids: list[int]) -> NDArray[np.int64]:
    return np.argmax(engine.logits(token_ids), axis=-1)
