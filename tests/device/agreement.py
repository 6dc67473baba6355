"""The promises for numbers, on a simulator or a card: logits, candidates and each of our own operations are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

import bitnet_tt
from bitnet_tt import BitNetModel, reference
from bitnet_tt.backends.base import Batch, Candidates
from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.planning.plan import PRECISIONS
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import BLOCK_SIZE
from bitnet_tt.reference.compare import CONTRACT, FAST, Bars, compare_logits
from bitnet_tt.sampling import RandomNumbers, Text, logit_filter, sample
from tests import golden_checkpoints as golden
from tests.device.following import follow
from tests.device.paged import CONTEXT, PagedFeeder, opened

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.backend import TTBackend

DEMO = Path(bitnet_tt.__file__).parent / "assets/demo"
EMPTY = Text([], 0)
BARS: dict[Precision, Bars] = {"exact": CONTRACT, "fast": FAST}


class Numbers:
    """The tests. `test_simulator.py` runs them on a simulator, `test_card.py` on a card."""

    @pytest.mark.parametrize("name", golden.TT_NAMES)
    def test_exact_logits_equal_transformers(self, name: str) -> None:
        check_golden(name, "exact")

    @pytest.mark.parametrize("name", golden.TT_NAMES)
    def test_fast_logits_are_close(self, name: str) -> None:
        check_golden(name, "fast")

    def test_the_demo_model_writes_what_it_writes_on_the_cpu(self) -> None:
        check_text(["Once upon a time", "The little fox", "One day, " * 10], 6)

    def test_64_tokens_of_the_demo_model_are_those_of_the_cpu(self) -> None:
        # In fast, the lm_head of 8 bits picks another token where the first two are nearly equal.
        check_text(["Once upon a time"], 64, precision="exact")

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_no_row_depends_on_the_batch_or_on_cuts(self, precision: Precision) -> None:
        check_cuts("bitnet-packed", precision)

    def test_the_device_finds_the_largest_logits(self) -> None:
        check_candidates()

    @pytest.mark.parametrize("width", [96, 2560])
    def test_rows_are_added_normalized_and_quantized(self, width: int) -> None:
        check_rows(width)

    @pytest.mark.parametrize("heads", [(4, 2, 64), (20, 5, 128), (6, 2, 256), (2, 2, 64)], ids=str)
    def test_attention_is_accurate_and_equal_in_every_batch(self, heads: tuple[int, int, int]) -> None:
        from tests.device.attending import check_attention, shape_of

        check_attention(shape_of(Checkpoint.open(DEMO).config, *heads))

    def test_heads_are_rotated_and_cached(self) -> None:
        from tests.device.attending import check_heads

        check_heads(Checkpoint.open(DEMO).config)

    @pytest.mark.parametrize(("rows", "lines"), [(1, 1), (3, 4), (8, 8)])
    @pytest.mark.parametrize("heads", [(4, 2, 64), (20, 5, 128), (3, 1, 192), (8, 1, 256)], ids=str)
    def test_attention_of_few_rows_rotates_and_caches_them(
        self, heads: tuple[int, int, int], rows: int, lines: int
    ) -> None:
        from tests.device.attending import check_few_rows, shape_of

        check_few_rows(shape_of(Checkpoint.open(DEMO).config, *heads), rows, lines)

    @pytest.mark.parametrize(("rows", "lines"), [(1, 1), (3, 4), (8, 8)])
    @pytest.mark.parametrize(("in_features", "widths"), [(256, (256, 128, 128)), (704, (1120,)), (64, (64,))])
    def test_fused_products_are_exact(self, in_features: int, widths: tuple[int, ...], rows: int, lines: int) -> None:
        from tests.device.few_rows import check_products

        check_products(in_features, widths, rows, lines)

    @pytest.mark.parametrize(("rows", "lines"), [(1, 1), (3, 4), (8, 8)])
    def test_fused_gates_are_exact(self, rows: int, lines: int) -> None:
        from tests.device.few_rows import check_gates

        check_gates(256, 704, rows, lines)

    def test_weights_with_exponents_of_their_own_give_the_same(self) -> None:
        from tests.device.few_rows import check_gates, check_products

        check_products(704, (1120,), 3, 4, "bfp2")
        check_gates(256, 704, 1, 1, "bfp2")

    @pytest.mark.parametrize("lines", [1, 4, 8])
    def test_embeddings_are_looked_up(self, lines: int) -> None:
        from tests.device.few_rows import check_embeddings

        check_embeddings(2048, 320, lines)

    @pytest.mark.parametrize("lines", [1, 8])
    def test_fused_products_of_2b4t_are_exact(self, lines: int) -> None:
        from tests.device.few_rows import check_gates, check_products

        check_products(2560, (2560, 640, 640), lines, lines)
        check_gates(2560, 6912, lines, lines)
        check_products(6912, (2560,), lines, lines)

    def test_the_inputs_of_a_step_become_those_of_the_next_one(self) -> None:
        from tests.device.stepping import check_steps

        check_steps(Checkpoint.open(DEMO).config)

    @pytest.mark.parametrize(("hidden", "vocab", "cores"), [(256, 1000, None), (704, 2000, 5)])
    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_the_head_and_its_largest_logits_are_right(
        self, hidden: int, vocab: int, cores: int | None, precision: Precision
    ) -> None:
        from tests.device.head import check_head

        check_head(hidden, vocab, cores, precision)

    def test_quantized_integers_equal_those_of_the_reference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checkpoint, expected = Checkpoint.open(golden.FOLDER / "bitnet-packed"), golden.expected("bitnet-packed")
        ids, weights = expected["input_ids"][0].tolist(), checkpoint.load_weights()
        parts = follow(checkpoint.config, weights, ids, decoded=2, precision="exact", monkeypatch=monkeypatch)
        print(parts)
        assert parts["all"].first_layer > 0.995
        assert parts["all"].every_layer > 0.9


def check_golden(name: str, precision: Precision) -> None:
    """Compare two prompts with transformers: all tokens but the last at once, the last token as a decode step."""
    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    first, second = (ids.tolist() for ids in expected["input_ids"])
    with opened(checkpoint.config, checkpoint.load_weights(), precision) as backend:
        feeder = PagedFeeder(backend, sequences=2, blocks_each=2)
        feeder.feed({0: first[:-1], 1: second[:-1]})
        feeder.feed({0: first[-1:], 1: second[-1:]})
    agreement = compare_logits(np.stack([np.stack(rows) for rows in feeder.logits]), expected["logits"])
    print(f"{name} {precision}: {agreement}")
    assert agreement.meets(BARS[precision])


def check_text(prompts: list[str], tokens: int, precision: Precision = "fast") -> None:
    """Compare greedy texts with the CPU's: all prompts together, and the first alone."""
    from bitnet_tt.backends.tt.backend import TTBackend

    cpu, ours = (
        BitNetModel.from_pretrained(
            "demo", device=device, precision=precision, context_length=CONTEXT, max_batch_size=3
        )
        for device in ("cpu", "tt")
    )
    assert isinstance(ours.backend, TTBackend)
    try:
        expected = cpu.generate(prompts, max_new_tokens=tokens, temperature=0)
        assert ours.generate(prompts[0], max_new_tokens=tokens, temperature=0) == expected[0]
        if len(prompts) > 1:
            assert ours.generate(prompts, max_new_tokens=tokens, temperature=0) == expected
    finally:
        ours.backend.close()


def check_cuts(name: str, precision: Precision) -> None:
    """Compare whole prompts with prompts cut before, at and after a block's end, in other batches: equal to the bit."""
    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    first, second = (ids.tolist() for ids in expected["input_ids"])
    # One layer is enough to see a difference, and a simulator is slow.
    weights = checkpoint.load_weights()
    config = replace(checkpoint.config, num_hidden_layers=1)
    with opened(config, replace(weights, layers=weights.layers[:1]), precision) as backend:
        _poison(backend)
        whole = PagedFeeder(backend, sequences=2, blocks_each=2)
        whole.feed({0: first, 1: second})
        cut = PagedFeeder(backend, sequences=3, blocks_each=2)
        cut.feed({0: first[:31], 1: second[:20], 2: first[:1]})
        cut.feed({0: first[31:32], 2: first[1:2]})
        cut.feed({0: first[32:], 1: second[20:], 2: first[2:3]})
    for index, rows in enumerate((whole.logits[0], whole.logits[1], whole.logits[0][:3])):
        np.testing.assert_array_equal(np.stack(cut.logits[index]), np.stack(rows))


def check_candidates() -> None:
    """Compare the candidates of prompts and single tokens with whole rows: equal logits, and equal tokens sampled."""
    greedy, whole, top_p = (GenerationConfig(temperature=t, top_p=p) for t, p in ((0, 1), (1, 1), (0.7, 0.8)))
    top_k, min_p = GenerationConfig(temperature=1, top_k=6), GenerationConfig(temperature=0.5, min_p=0.2)
    checkpoint = Checkpoint.open(DEMO)
    weights = checkpoint.load_weights()
    config = replace(checkpoint.config, num_hidden_layers=1)
    with opened(config, replace(weights, layers=weights.layers[:1]), "fast") as backend:
        backend.allocate(6, BLOCK_SIZE)
        for counts, configs in (
            ([1, 1, 1], [greedy] * 3),
            ([1, 1, 1], [greedy, top_k, top_p]),
            ([1, 1, 1], [min_p, top_p, top_p]),
            ([33, 1], [top_p, min_p]),
            ([1, 1], [greedy, whole]),
        ):
            ends = np.cumsum(counts, dtype=np.int32)
            batch = Batch(
                token_ids=np.arange(100, 100 + ends[-1], dtype=np.int32),
                starts=np.concatenate([[0], ends]).astype(np.int32),
                positions=np.zeros(len(counts), np.int32),
                block_tables=np.arange(2 * len(counts), dtype=np.int32).reshape(-1, 2),
                logit_rows=ends - 1,
            )
            rows = backend.forward(batch)
            numbers = RandomNumbers(7)
            found_rows = backend.candidates(batch, [logit_filter(config, EMPTY, numbers) for config in configs])
            for row, config, found in zip(rows, configs, found_rows, strict=True):
                token_ids = np.arange(len(row)) if found.token_ids is None else found.token_ids
                assert (found.token_ids is None) == (whole in configs)
                np.testing.assert_array_equal(found.logits, row[token_ids])
                assert (np.diff(token_ids) > 0).all()
                if found.missing is not None:
                    missing = np.delete(np.arange(len(row)), token_ids)
                    assert (found.missing.upper_bounds()[missing] >= row[missing]).all()
                    np.testing.assert_array_equal(found.missing.compute(missing), row[missing])
                for seed in range(50):  # on a card, the candidates do not depend on the noise
                    picks = [sample(each, config, EMPTY, RandomNumbers(seed)) for each in (found, Candidates(row))]
                    assert picks[0] == picks[1]


def check_rows(width: int) -> None:
    """Compare the operations between two products with float64: very few integers differ, and those by one."""
    import ttnn

    from bitnet_tt.backends.tt.device.mesh import open_cards
    from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct
    from bitnet_tt.backends.tt.ops.norm_quantize import op

    random, count = np.random.default_rng(0), 35
    h = (random.standard_normal((count, width)) * np.exp(random.standard_normal((count, 1)))).astype(np.float32)
    sums = random.integers(-3000, 3000, (count, 2 * width)).astype(np.float32)
    largest = random.uniform(0.5, 3, (count, 1)).astype(np.float32)
    gain = random.uniform(0.5, 2, width).astype(np.float32)
    card = open_cards()[0]
    try:
        norm = op.Norm.load(card, gain, 1e-5)
        on_card = card.tiles(h[None, None], ttnn.float32)
        row_largest = card.tiles(largest[None, None], ttnn.float32)
        one = IntegerProduct(card.tiles(sums[None, None, :, :width], ttnn.float32), row_largest, (0.01,))
        two = IntegerProduct(card.tiles(sums[None, None], ttnn.float32), row_largest, (0.001, 0.002))
        added, added_rows = op.add_and_normalize(on_card, one, norm, None)
        gate, up = sums[:, :width] * largest * np.float64(0.001), sums[:, width:] * largest * np.float64(0.002)
        total = device_array(added)
        np.testing.assert_allclose(total, h + sums[:, :width] * largest * np.float64(0.01), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            device_array(op.normalize(on_card, norm, ttnn.float32)), _rms_norm(h, gain), rtol=1e-6
        )
        for made, expected in (
            (op.normalize(on_card, norm, None), _rms_norm(h, gain)),
            (op.normalize(on_card, None, None), h),
            (added_rows, _rms_norm(total, gain)),
            (op.gate_and_normalize(two, "relu2", norm, None), _rms_norm(np.maximum(gate, 0) ** 2 * up, gain)),
            (op.gate_and_normalize(two, "silu", None, None), gate / (1 + np.exp(-gate)) * up),
        ):
            integers, _ = reference.quantize_activations(expected.astype(np.float32))
            off = np.abs(device_array(made.integers) - integers)
            assert off.max() <= 1
            assert off.mean() < 1e-3
            np.testing.assert_allclose(device_array(made.largest)[:, 0], np.abs(expected).max(axis=1), rtol=1e-6)
    finally:
        card.close()


def _rms_norm(x: NDArray[np.floating], gain: NDArray[np.float32]) -> NDArray[np.float64]:
    return x / np.sqrt(np.mean(np.float64(x) ** 2, axis=1, keepdims=True) + 1e-5) * gain


def device_array(tensor: object) -> NDArray[np.float32]:
    """Return the only matrix of a tensor on the device, as float32."""
    from tests.device.tensors import to_host

    return to_host(tensor)[0, 0]


def _poison(backend: TTBackend) -> None:
    """Fill free memory with NaN. Padding rows contain whatever was there before; it must not change a result."""
    import ttnn

    device = backend.cards[0].device
    for buffer, rows in ((ttnn.L1_MEMORY_CONFIG, 64 * backend.plan.grid.cores), (ttnn.DRAM_MEMORY_CONFIG, 1 << 14)):
        ttnn.full([1, 1, rows, 256], float("nan"), ttnn.float32, ttnn.TILE_LAYOUT, device, buffer).deallocate()
