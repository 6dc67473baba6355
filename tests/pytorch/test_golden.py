"""The module computes what the NumPy reference computes: whole texts, token by token, and in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt import BitNetModel, reference
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.errors import ConfigError
from bitnet_tt.reference.compare import CONTRACT, compare_logits
from tests import golden_checkpoints as golden

torch = pytest.importorskip("torch", reason="needs the extra torch: make test-torch")
pytorch = pytest.importorskip("bitnet_tt.pytorch")
pytestmark = pytest.mark.torch

SPLITS = {"prefill": [33], "step by step": [1] * 33, "in parts": [7, 13, 13]}


def run(module: pytorch.BitNet, ids: NDArray[np.int64], parts: list[int]) -> NDArray[Any]:
    """Return the logits [batch, tokens, vocab] of texts that are computed in parts of these lengths."""
    tokens = torch.from_numpy(ids.astype(np.int32))
    if len(parts) == 1:
        return module(tokens)[0].numpy()
    keys, values = module.empty_cache()
    logits, start = [], 0
    for length in parts:
        positions = torch.arange(start, start + length, dtype=torch.int32).expand(len(ids), -1)
        new, keys, values = module(tokens[:, start : start + length], positions, keys, values)
        logits.append(new)
        start += length
    return torch.cat(logits, 1).numpy()


@pytest.fixture(params=golden.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("parts", SPLITS.values(), ids=SPLITS)
def test_logits_keep_the_contract(name: str, parts: list[int]) -> None:
    expected = golden.expected(name)
    module = pytorch.BitNet.from_pretrained(golden.FOLDER / name, batch=2, max_length=40)
    logits = run(module, expected["input_ids"], parts)
    assert compare_logits(logits, expected["logits"]).meets(CONTRACT)


@pytest.mark.parametrize("parts", SPLITS.values(), ids=SPLITS)
def test_in_float64_all_integers_are_those_of_the_reference(
    name: str, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 a last bit of a sum may move an integer by one, and one moves all that follow."""
    ids = golden.expected(name)["input_ids"]
    checkpoint = Checkpoint.open(golden.FOLDER / name)
    weights = checkpoint.load_weights()
    expected: list[list[NDArray[np.int8]]] = []
    record(monkeypatch, reference.decoder, "bitlinear", lambda q, *_: expected[-1].append(q))
    logits = []
    for text in ids:
        expected.append([])
        logits.append(reference.forward(checkpoint.config, weights, text, dtype=np.float64))
    found: list[NDArray[np.float64]] = []
    record(monkeypatch, pytorch.bitlinear.functional, "linear", lambda q, *_: found.append(q.numpy()))
    module = pytorch.BitNet.from_pretrained(golden.FOLDER / name, batch=2, max_length=40).double()
    agreement = compare_logits(run(module, ids, parts), np.stack(logits))
    assert agreement.correlation >= 1 - 1e-12
    calls = len(expected[0]) + 1  # the last one is the lm_head
    assert len(found) == calls * len(parts)
    for linear, texts in enumerate(zip(*expected, strict=True)):
        assert np.array_equal(np.concatenate(found[linear::calls], axis=1), np.stack(texts))


def record(patch: pytest.MonkeyPatch, module: ModuleType, name: str, keep: Callable[..., None]) -> None:
    """Let a function pass its arguments to `keep` first."""
    function = getattr(module, name)

    def recorded(*arguments: Any) -> Any:
        keep(*arguments)
        return function(*arguments)

    patch.setattr(module, name, recorded)


def test_generate_gives_the_tokens_of_the_model() -> None:
    """Of several prompts, of which one ends at once."""
    prompts = ["Once upon a time", "The little fox", "What is 7 + 5?"]
    with BitNetModel.from_pretrained("demo") as model:
        ids = [model.tokenizer.encode(prompt) for prompt in prompts]
        texts = model.generate(ids, max_new_tokens=24, temperature=0, ignore_eos=True)
        module = pytorch.BitNet.from_pretrained("demo", batch=4, max_length=64)
        assert [model.tokenizer.decode(new) for new in pytorch.generate(module, ids, 24)] == texts


def test_group_scales_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="a scale for each group of 128"):
        pytorch.BitNet.from_pretrained(golden.FOLDER / golden.BONSAI)


def test_generate_stops() -> None:
    expected = golden.expected("bitnet-packed")
    prompt, greedy = expected["greedy_prompt"].tolist(), expected["greedy_ids"].tolist()
    module = pytorch.BitNet.from_pretrained(golden.FOLDER / "bitnet-packed", max_length=9 + 20)
    stop = greedy[5]
    assert pytorch.generate(module, [prompt], 32, stop_token_ids={stop}) == [greedy[: greedy.index(stop)]]
    assert pytorch.generate(module, [prompt], 32) == [greedy[:20]]
