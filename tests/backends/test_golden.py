from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitnet_tt.backends.cpu import CPUBackend, available_isas
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine
from bitnet_tt.reference.compare import compare_logits
from tests import golden_checkpoints as golden


def make_engine(folder: Path, isa: str | None = None) -> Engine:
    checkpoint = Checkpoint.open(folder)
    backend = CPUBackend(checkpoint.config, checkpoint.load_weights(), context_length=128, isa=isa)
    return Engine(backend, vocab_size=checkpoint.config.vocab_size, context_length=128)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("name", golden.NAMES)
def test_logits_equal_transformers(name: str, isa: str) -> None:
    expected, engine = golden.expected(name), make_engine(golden.FOLDER / name, isa)
    logits = np.stack(
        [np.concatenate([chunk.copy() for _, chunk in engine.score(ids.tolist())]) for ids in expected["input_ids"]]
    )
    agreement = compare_logits(logits, expected["logits"])
    assert agreement.equal, agreement


@pytest.mark.parametrize("name", golden.NAMES)
def test_greedy_tokens_equal_transformers(name: str) -> None:
    """Up to the first token that transformers itself chose by a hair."""
    expected, engine = golden.expected(name), make_engine(golden.FOLDER / name)
    prompt, ids, margins = (expected[key] for key in ("greedy_prompt", "greedy_ids", "greedy_margin"))
    config = GenerationConfig(max_new_tokens=len(ids), ignore_eos=True)
    tokens = [output.token_id for output in engine.outputs(engine.request(prompt.tolist(), config))]
    unclear = np.flatnonzero(margins <= 0.1 * expected["logits"].std())
    clear = int(unclear[0]) if len(unclear) else len(ids)
    assert tokens[:clear] == ids[:clear].tolist()
    assert clear > 4
