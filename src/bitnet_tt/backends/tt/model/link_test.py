"""Send numbers over every cable of a chain of cards, both ways, and compare them. `bitnet-tt doctor --cards` runs it.

python -m bitnet_tt.backends.tt.model.link_test CARDS

It runs in a process of its own, because a broken cable can make ttnn wait for ever.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.mesh import open_cards
from bitnet_tt.backends.tt.ops.common.link import Link
from bitnet_tt.backends.tt.ops.handoff.op import receive, send
from bitnet_tt.backends.tt.planning.memory import LANDING_PAGE_BYTES
from bitnet_tt.errors import DeviceError

_PAGES = 256
"""Pages of 4 KB: so many packets that each buffer on the way is used again and again."""


def main(count: int) -> None:
    """Print a JSON object: `links`, the pairs of cards that work, and `error`, empty or what does not."""
    links: list[tuple[int, int]] = []
    error = ""
    try:
        links.extend(_working_links(count))
    except (DeviceError, RuntimeError) as problem:
        error = str(problem).splitlines()[0]
    print(json.dumps({"links": links, "error": error}))


def _working_links(count: int) -> Iterator[tuple[int, int]]:
    """Open the chain, and yield source and target of each link that brings the right numbers.

    Raises:
        DeviceError: The cards cannot be opened as a chain, or a link changes numbers.
    """
    cards = open_cards(count)
    try:
        shape = (_PAGES, LANDING_PAGE_BYTES // 4)
        for source, target in [*itertools.pairwise(cards), *itertools.pairwise(cards[::-1])]:
            link = Link.between(source, target, _PAGES)
            numbers = np.random.default_rng(source.place).integers(0, 1 << 32, shape, np.uint32)
            arrived = target.rows(np.zeros(shape, np.uint32), ttnn.uint32)
            send(link, source.rows(numbers, ttnn.uint32))
            receive(link, arrived)
            wrong = int((target.read_later(arrived)() != numbers).sum())
            if wrong:
                raise DeviceError(
                    f"{wrong} of {numbers.size} numbers from card {source.place} to {target.place} are wrong"
                )
            yield source.place, target.place
    finally:
        cards[0].close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
