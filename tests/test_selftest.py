"""The self-test compares a device with NumPy and tries every variant of the CPU backend. It lowers its bars only for
models that amplify rounding.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitnet_tt import BitNetModel, selftest
from bitnet_tt.backends.cpu.backend import available_isas
from bitnet_tt.backends.options import BackendOptions
from bitnet_tt.checkpoint.tokenizer_files import copy_tokenizer
from bitnet_tt.errors import DeviceError
from bitnet_tt.reference import forward
from bitnet_tt.reference.compare import CONTRACT, FAST, Agreement, Bars
from bitnet_tt.selftest import check_device, list_variants, relax, run_self_test
from tests.checkpoint import small_bonsai


@pytest.fixture(scope="module")
def model() -> BitNetModel:
    return BitNetModel.from_pretrained("demo")


def test_this_machine_computes_right(model: BitNetModel) -> None:
    calls: list[tuple[int, int]] = []
    result = run_self_test(model, lambda done, total: calls.append((done, total)))
    assert result.passed
    assert result.agreement.correlation > 0.9999
    assert (result.bars, result.sensitivity) == (CONTRACT, None)
    assert list(result.variants) == list_variants()
    assert {variant.isa for variant in result.variants} == set(available_isas())
    assert min(variant.chunk for variant in result.variants) < result.tokens
    assert all(result.variants.values())
    assert calls == [(done, len(result.variants) + 1) for done in range(len(result.variants) + 1)]


def test_group_scales_are_compared_with_float_activations(model: BitNetModel, tmp_path: Path) -> None:
    """The model has the demo's tokenizer, and writes text like any other."""
    vocab = model.config.vocab_size
    folder = small_bonsai.write_unpacked(tmp_path / "bonsai", small_bonsai.tensors(128, vocab=vocab), vocab_size=vocab)
    copy_tokenizer(model.checkpoint.path, folder)
    bonsai = BitNetModel.from_pretrained(folder)
    assert bonsai.generate("Once upon a time", max_new_tokens=4, temperature=0.0)
    assert bonsai.generate("Once upon a time", max_new_tokens=4, temperature=0.8, top_p=0.9, seed=3)
    result = run_self_test(bonsai)
    assert result.passed
    assert result.float_activations is not None
    assert result.agreement.correlation > result.float_activations.correlation > 0.999


def test_a_device_is_compared_with_the_cpu(model: BitNetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    right = model.logits
    monkeypatch.setattr(model, "options", BackendOptions("tt"))
    check_device(model)
    monkeypatch.setattr(model, "logits", lambda token_ids: -right(token_ids))
    with pytest.raises(DeviceError, match=r"computes wrong.*tt-smi -r"):
        check_device(model)
    monkeypatch.setattr(model, "options", BackendOptions("cpu"))
    check_device(model)


def test_a_variant_that_changes_a_bit_fails(model: BitNetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = selftest.run_variant, list_variants()[1]

    def run_variant(*arguments: object) -> np.ndarray:
        logits = right(*arguments)
        if arguments[-1] == wrong:
            logits[3, 5] = np.nextafter(logits[3, 5], np.float32(np.inf))
        return logits

    monkeypatch.setattr(selftest, "run_variant", run_variant)
    result = run_self_test(model)
    assert [variant for variant, identical in result.variants.items() if not identical] == [wrong]
    assert result.agreement.meets(result.bars)
    assert not result.passed


def test_cpu_variants_and_bars_follow_the_device(model: BitNetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card has no variants, and fewer promises at precision `fast`. The CPU's model stands in for a card's here."""
    monkeypatch.setattr(model, "options", BackendOptions("tt", precision="fast"))
    fast = run_self_test(model)
    monkeypatch.setattr(model, "options", BackendOptions("tt", precision="exact"))
    exact = run_self_test(model)
    assert (fast.bars, exact.bars) == (FAST, CONTRACT)
    assert fast.variants == exact.variants == {}
    assert fast.passed


def test_a_missed_bar_is_held_against_the_reference_s_own_sensitivity(
    model: BitNetModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "options", BackendOptions("tt"))
    monkeypatch.setattr(model, "logits", lambda token_ids: np.zeros((len(token_ids), model.config.vocab_size)) + noise)
    noise = np.random.default_rng(0).normal(size=model.config.vocab_size).astype(np.float32)
    result = run_self_test(model)
    assert result.sensitivity is not None
    assert result.bars == relax(FAST, result.sensitivity)
    assert not result.passed


def test_nudge_changes_last_bits_only(model: BitNetModel) -> None:
    weights = model.checkpoint.load_weights()
    nudged = selftest.nudge(weights)
    for layer, other in zip(weights.layers, nudged.layers, strict=True):
        steps = layer.input_layernorm.view(np.int32) - other.input_layernorm.view(np.int32)
        assert set(np.abs(steps)) == {1}
    token_ids = model.tokenizer.encode(selftest.TEXT)[:4]
    logits = forward(model.config, nudged, token_ids)
    assert not np.array_equal(logits, forward(model.config, weights, token_ids))


def test_models_that_amplify_rounding_get_lower_bars() -> None:
    assert Bars(0.9995, 5e-3, 1.0) == CONTRACT == relax(CONTRACT, Agreement(0.9999, 1e-3, 1.0, 1.0))
    assert Bars(0.999, 5e-3, 1.0) == FAST
    agreement = Agreement(correlation=0.9989, mean_kl=0.1, top1=0.9, clear_top1=1.0)
    assert CONTRACT.met_by(agreement) == {"correlation": False, "mean_kl": False, "clear_top1": True}
    assert not agreement.meets(CONTRACT)
    assert agreement.meets(relax(CONTRACT, Agreement(0.998, 0.4, 0.8, 1.0)))
