"""Blocks of the paged KV cache: who holds which, and which can be used again for a shared beginning."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

type _Prefix = tuple[int, tuple[int, ...]]
"""What a full block holds: the content id of the block before it (0 for none) and its own tokens."""


@dataclass(slots=True)
class _Block:
    holders: int = 0
    content: int = 0
    prefix: _Prefix | None = None


class BlockPool:
    """Hands out cache blocks and remembers full ones by their tokens: equal beginnings of prompts are computed once.

    Every content gets an id that is never used again, and names the content before it by that id. A block nobody holds
    keeps its content until it has been idle longest and a new one is needed.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self._blocks = [_Block() for _ in range(num_blocks)]
        self._idle = OrderedDict.fromkeys(range(num_blocks))
        self._known: dict[_Prefix, int] = {}
        self._content_ids = itertools.count(1)

    @property
    def num_blocks(self) -> int:
        """Blocks in all."""
        return len(self._blocks)

    @property
    def available(self) -> int:
        """Blocks nobody holds."""
        return len(self._idle)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold this many tokens."""
        return -(-tokens // self.block_size)

    def take(self) -> int | None:
        """A block of unknown content, or None when all are held."""
        if not self._idle:
            return None
        index, _ = self._idle.popitem(last=False)
        block = self._blocks[index]
        if block.prefix is not None:
            del self._known[block.prefix]
        self._blocks[index] = _Block(holders=1)
        return index

    def release(self, table: Sequence[int]) -> None:
        """Give blocks back. The last is the first to be used anew, so that prefixes are forgotten from their end."""
        for index in reversed(table):
            block = self._blocks[index]
            block.holders -= 1
            if block.holders == 0:
                self._idle[index] = None

    def share_prefix(self, tokens: Sequence[int]) -> list[int]:
        """Hold the blocks whose contents are the beginning of these tokens, as far as they are known."""
        table: list[int] = []
        parent = 0
        for start in range(0, len(tokens) - self.block_size + 1, self.block_size):
            index = self._known.get((parent, tuple(tokens[start : start + self.block_size])))
            if index is None:
                break
            self._blocks[index].holders += 1
            self._idle.pop(index, None)
            table.append(index)
            parent = self._blocks[index].content
        return table

    def remember(self, tokens: Sequence[int], table: Sequence[int], before: int, after: int) -> None:
        """Make the blocks of `table` known that were filled by computing positions `before` to `after` of `tokens`."""
        for position in range(before // self.block_size, after // self.block_size):
            block = self._blocks[table[position]]
            parent = self._blocks[table[position - 1]].content if position else 0
            prefix = (parent, tuple(tokens[position * self.block_size : (position + 1) * self.block_size]))
            known = self._known.get(prefix)
            if known is not None:
                block.content = self._blocks[known].content
            else:
                block.content = next(self._content_ids)
                block.prefix = prefix
                self._known[prefix] = table[position]
