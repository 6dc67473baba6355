"""The promises for several cards, on a simulator or on cards: a chain has the bits of one card."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt.backends.base import NEXT, Candidates, LogitFilter, Noise, StepResult
from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.planning.grid import STRIP
from bitnet_tt.backends.tt.planning.memory import LANDING_PAGE_BYTES
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import ModelConfig
from bitnet_tt.weights import ModelWeights
from tests import golden_checkpoints as golden
from tests.device.paged import CONTEXT, PagedFeeder

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.backend import TTBackend
    from bitnet_tt.backends.tt.device.card import Card

_WIDTH = 2560

_FORMS: dict[str, tuple[list[int], bool]] = {
    "token ids": ([1, 32], False),
    "1 row": ([_WIDTH // STRIP, STRIP], False),
    "4 rows": ([_WIDTH // STRIP, 4 * STRIP], False),
    "8 rows": ([_WIDTH // STRIP, 8 * STRIP], False),
    "32 rows": ([1, 1, 32, _WIDTH], True),
    "64 rows of a prompt": ([1, 1, 64, _WIDTH], True),
}
"""What passes from card to card: the shape, and whether it is in tiles."""


class Chains:
    """The tests. `test_simulator_cards.py` runs them on a simulator, `test_card.py` on cards."""

    def test_a_handoff_copies_bits_launched_and_traced(self, cards: int) -> None:
        """In all forms, from L1 and DRAM, along the chain and back; also if the receiver starts first."""
        check_handoffs(cards)

    def test_a_handoff_has_the_bits_of_the_stock_operations(self, cards: int) -> None:
        check_stock_operations(cards)

    @pytest.mark.parametrize("name", golden.TT_NAMES)
    def test_a_chain_has_the_bits_of_one_card(self, name: str, cards: int) -> None:
        """Prompts, decode steps of one, two and three sequences, cuts, and a text that is read again elsewhere."""
        config, weights = layers_of(name, cards)
        one, chain = (with_cards(config, weights, count, logits_of) for count in (1, cards))
        np.testing.assert_array_equal(chain, one)

    def test_a_chain_feeds_tokens_back_as_one_card_does(self, cards: int) -> None:
        """Launched, recorded, replayed, and ahead of the host, with a step of one sequence under way on each card."""
        config, weights = layers_of("bitnet-packed", cards)
        one, chain = (with_cards(config, weights, count, texts_of) for count in (1, cards))
        assert chain == one

    def test_a_chain_samples_as_one_card_does(self, cards: int) -> None:
        """Launched, recorded and replayed, with a step of one sequence under way on each card; also missing logits."""
        config, weights = layers_of("bitnet-packed", cards)
        one, chain = (with_cards(config, weights, count, candidates_of) for count in (1, cards))
        for found, expected in zip(chain, one, strict=True):
            np.testing.assert_array_equal(found, expected)


def check_handoffs(count: int) -> None:
    """Pass random numbers in every form between all neighbours, and compare their bits."""
    import ttnn

    from bitnet_tt.backends.tt.device.mesh import open_cards
    from bitnet_tt.backends.tt.ops.common.link import Link
    from bitnet_tt.backends.tt.ops.handoff.op import receive, send

    cards, random = open_cards(count, 1 << 23), np.random.default_rng(0)
    try:
        for source, target in [*itertools.pairwise(cards), *itertools.pairwise(cards[::-1])]:
            link = Link.between(source, target, pages=2 * _WIDTH * 64 * 4 // LANDING_PAGE_BYTES)
            for form, (shape, in_tiles) in _FORMS.items():
                for memory in (ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG):
                    x = random.integers(0, 1 << 32, shape, np.uint32).view(np.float32)
                    x = np.where(np.isfinite(x), x, np.float32(-0.0))
                    sent, arrived = _tensor(source, x, in_tiles, memory), _tensor(target, 0 * x, in_tiles, memory)
                    send(link, sent)
                    receive(link, arrived)
                    np.testing.assert_array_equal(_bits(arrived), x.view(np.uint32), f"{form} {source.place}")
            _check_traced(link, random)
    finally:
        cards[0].close()


def _check_traced(link: Any, random: np.random.Generator) -> None:
    """Launch the receiver first; then record and replay both sides, each time with other numbers."""
    import ttnn

    from bitnet_tt.backends.tt.ops.handoff.op import receive, send

    shape, _ = _FORMS["1 row"]
    zeros = np.zeros(shape, np.float32)
    sent, arrived = (_tensor(card, zeros, False, ttnn.DRAM_MEMORY_CONFIG) for card in (link.source, link.target))
    for step in range(4):
        x = random.standard_normal(shape, np.float32)
        ttnn.copy_host_to_device_tensor(ttnn.Tensor(x, ttnn.float32, None, ttnn.ROW_MAJOR_LAYOUT), sent)
        runs = [
            lambda: link.target.traces.run("receive", lambda: receive(link, arrived)),
            lambda: link.source.traces.run("send", lambda: send(link, sent)),
        ]
        for run in runs if step % 2 == 0 else runs[::-1]:
            run()
        np.testing.assert_array_equal(_bits(arrived), x.view(np.uint32))
    link.target.traces.release()
    link.source.traces.release()


def check_stock_operations(count: int) -> None:
    """Pass rows from card to card with ttnn's operations and with ours: the same bits arrive."""
    import ttnn

    from bitnet_tt.backends.tt.device.mesh import open_cards
    from bitnet_tt.backends.tt.ops.common.link import Link
    from bitnet_tt.backends.tt.ops.handoff.op import receive, send

    x = np.random.default_rng(0).standard_normal((count, 1, 32, 64), np.float32)
    with stock_mesh(count) as mesh:
        rows = spread(mesh, x, 0, ttnn.TILE_LAYOUT)
        gathered = [_bits(part) for part in ttnn.get_device_tensors(ttnn.all_gather(rows, dim=0))]
        coordinates = [ttnn.MeshCoordinate(0, place) for place in (1, 0)]
        passed = ttnn.point_to_point(rows, *coordinates, topology=ttnn.Topology.Linear)
        first = _bits(ttnn.get_device_tensors(passed)[0])
    cards = open_cards(count)
    try:
        arrived = []
        for target, source in itertools.pairwise(cards):
            link = Link.between(source, target, pages=8)
            tensor = _tensor(target, 0 * x[:1], True, ttnn.DRAM_MEMORY_CONFIG)
            send(link, _tensor(source, x[source.place : source.place + 1], True, ttnn.DRAM_MEMORY_CONFIG))
            receive(link, tensor)
            arrived.append(_bits(tensor))
    finally:
        cards[0].close()
    np.testing.assert_array_equal(np.concatenate(arrived), gathered[0][1:])
    np.testing.assert_array_equal(arrived[0], first)


@contextmanager
def stock_mesh(count: int) -> Iterator[Any]:
    """Open the cards as one mesh, as ttnn's own operations between cards need it."""
    import ttnn

    ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
    mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, count))
    try:
        yield mesh
    finally:
        ttnn.close_mesh_device(mesh)
        ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)


def spread(mesh: Any, x: NDArray[np.float32], dim: int, layout: Any) -> Any:
    """Cut an array along a dimension, and put a part on each card of a mesh."""
    import ttnn

    placements = [ttnn.PlacementReplicate(), ttnn.PlacementShard(dim)]
    mapper = ttnn.create_mesh_mapper(mesh, ttnn.MeshMapperConfig(placements, mesh.shape))
    return ttnn.distribute_tensor(ttnn.Tensor(x, ttnn.float32, None, layout), mapper, mesh)


def _tensor(card: Card, array: NDArray[np.float32], in_tiles: bool, memory: Any) -> Any:
    import ttnn

    layout = ttnn.TILE_LAYOUT if in_tiles else ttnn.ROW_MAJOR_LAYOUT
    return ttnn.to_memory_config(ttnn.Tensor(array, ttnn.float32, card.device, layout), memory)


def _bits(tensor: Any) -> NDArray[np.uint32]:
    array: NDArray[np.float32] = tensor.cpu().to_numpy()
    return array.view(np.uint32)


def layers_of(name: str, count: int) -> tuple[ModelConfig, ModelWeights]:
    """Return a golden checkpoint with so many layers, such as one for each card: a simulator is slow."""
    checkpoint = Checkpoint.open(golden.FOLDER / name)
    weights = checkpoint.load_weights()
    layers = (weights.layers * count)[:count]
    return replace(checkpoint.config, num_hidden_layers=count), replace(weights, layers=layers)


def with_cards(
    config: ModelConfig,
    weights: ModelWeights,
    cards: int,
    run: Any,
    *,
    tensor_parallel: bool = False,
    precision: Precision = "fast",
) -> Any:
    """Run a function with a model on some cards, and close them."""
    from bitnet_tt.backends.tt.backend import TTBackend

    backend = TTBackend(
        config, weights, context_length=CONTEXT, precision=precision, cards=cards, tensor_parallel=tensor_parallel
    )
    try:
        layers = config.num_hidden_layers // (1 if tensor_parallel else cards)
        assert [len(share.layers) for share in backend.shares] == [layers] * cards
        return run(backend)
    finally:
        backend.close()


def logits_of(backend: TTBackend) -> NDArray[np.float32]:
    """Return the logits of prompts, decode steps, cuts, and a text that was preempted: one row for each token."""
    tokens = np.random.default_rng(0).integers(0, 500, 80).tolist()
    feeder = PagedFeeder(backend, sequences=4, blocks_each=3)
    feeder.feed({0: tokens[:33], 1: tokens[:5], 2: tokens[:1]})
    for step in range(3):
        feeder.feed({index: [tokens[40 + step]] for index in range(3 - step)})
    feeder.feed({0: tokens[50:52], 1: tokens[50:51]})
    feeder.feed({3: [*tokens[:33], *tokens[40:43]]})  # the first sequence again, in other blocks
    np.testing.assert_array_equal(np.stack(feeder.logits[3]), np.stack(feeder.logits[0])[:36])
    return np.concatenate([np.stack(rows) for rows in feeder.logits])


def texts_of(backend: TTBackend) -> list[list[int]]:
    """Return greedy texts of two sequences, of which one enters a block: step by step, and then ahead of the host."""
    feeder, random = PagedFeeder(backend, sequences=2, blocks_each=2), np.random.default_rng(1)
    texts: list[list[int]] = [random.integers(0, 500, length).tolist() for length in (3, 31)]
    feeder.feed({index: text[:-1] for index, text in enumerate(texts)})
    filters = [LogitFilter(1)] * 2

    def append(found: list[Candidates]) -> None:
        for text, row in zip(texts, found, strict=True):
            assert row.token_ids is not None
            text.append(int(row.token_ids[np.argmax(row.logits)]))

    for _ in range(4):
        append(backend.candidates(feeder.batch({index: text[-1:] for index, text in enumerate(texts)}), filters))
    unread: deque[StepResult] = deque()
    for step in range(4):
        batch = feeder.batch({index: text[-1:] if step == 0 else [NEXT] for index, text in enumerate(texts)})
        started = backend.start(batch)
        assert started is not None
        unread.append(started)
        if step > 0:
            append(unread.popleft()())
    append(unread.popleft()())
    return texts


def candidates_of(backend: TTBackend) -> list[NDArray[np.float32]]:
    """Return the candidates of steps whose sequences change, also those of whole rows, and the logits that they miss.

    Each array is a row: token ids, logits and missing logits.
    """
    feeder, random = PagedFeeder(backend, sequences=2, blocks_each=2), np.random.default_rng(3)
    feeder.feed({index: random.integers(0, 500, length).tolist() for index, length in enumerate((3, 29))})
    top_p = LogitFilter(8, Noise(seed=0, position=0, choice=0, temperature=1.0))
    rows = []
    for limit, texts in itertools.product((top_p, LogitFilter()), 4 * [(0, 1)] + [(1,)]):
        batch = feeder.batch({index: [int(random.integers(0, 500))] for index in texts})
        for found in backend.candidates(batch, [limit] * len(texts)):
            every = np.arange(backend.plan.config.vocab_size)
            token_ids = every if found.token_ids is None else found.token_ids
            missing = np.setdiff1d(every, token_ids)
            assert (len(missing) > 0) == (limit is top_p)
            rest = found.missing.compute(missing) if found.missing is not None else np.zeros(0, np.float32)
            rows.append(np.concatenate([token_ids, found.logits, rest]).astype(np.float32))
    return rows
