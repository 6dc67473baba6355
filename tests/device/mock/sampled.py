"""Run a sampled decode step on a chain of cards in mock mode. Print, as JSON, its launches and the order of its parts.

python -m tests.device.mock.sampled CONFIG_JSON CARDS SEQUENCES
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import ttnn

from bitnet_tt.backends.base import LogitFilter, Noise
from bitnet_tt.backends.tt.backend import TTBackend
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.planning.chain_cost import chain_cost
from bitnet_tt.config import ModelConfig
from tests.device.mock.measure import BLOCKS_EACH, batch, launches
from tests.device.mock.model import empty_model

FILTERS = {
    "top-p": LogitFilter(8, Noise(seed=0, position=0, choice=0, temperature=1.0)),
    "penalties": LogitFilter(),
}


def main(config_json: str, cards: str, sequences: str) -> None:
    config = ModelConfig.from_dict(json.loads(config_json))
    backend = TTBackend(config, empty_model(config), context_length=128, cards=int(cards))
    backend.allocate(32 * BLOCKS_EACH, 32)
    facts: dict[str, Any] = {"greedy_launches": chain_cost(backend.plan, int(cards), int(sequences), 41).launches}
    for name, limit in FILTERS.items():
        positions = iter(range(40, 64))

        def step(limit: LogitFilter = limit, positions: Any = positions) -> None:
            each = batch(int(sequences), tokens=1, position=next(positions))
            backend.candidates(each, [limit] * int(sequences))

        step()
        facts[name] = {"launches": [launches(step) for _ in range(2)], "order": order(step)}
    backend.close()
    print(json.dumps(facts))


def order(step: Callable[[], None]) -> list[str]:
    """Return what a step does, in order: the cards that it launches programs on, and its reads."""
    events: list[str] = []
    launch, read_later = ttnn.generic_op, Card.read_later

    def note(event: str) -> None:
        if not events or events[-1] != event:
            events.append(event)

    def noting_launch(tensors: Any, program: Any) -> Any:
        note(f"card {tensors[0].device().get_fabric_node_id(ttnn.MeshCoordinate(0, 0)).chip_id}")
        return launch(tensors, program)

    def noting_read(card: Card, tensor: Any) -> Callable[[], Any]:
        note("read")
        return partial(_noting_wait, read_later(card, tensor))

    def _noting_wait(wait: Callable[[], Any]) -> Any:
        note("wait")
        return wait()

    with (
        mock.patch.object(ttnn, "generic_op", noting_launch),
        mock.patch.object(Card, "read_later", noting_read),
    ):
        step()
    return events


if __name__ == "__main__":
    main(*sys.argv[1:])
