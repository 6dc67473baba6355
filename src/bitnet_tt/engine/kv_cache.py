"""The blocks of the paged KV cache: which are free, and which a prompt can reuse because it begins with their tokens.

A block is only a number here. The backend holds the keys and values.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

type _Prefix = tuple[int | str, tuple[int, ...]]
"""The contents of a full block: the content id of the block before it, and its own tokens.

The first block of a text has no block before it. There the cache key stands instead.
"""


@dataclass(slots=True)
class _Block:
    """One block.

    Attributes:
        holders: How many block tables it is in.
        content: The id of its contents; 0 while it is not full.
        prefix: The key under which a prompt finds it; None if it cannot be found.
    """

    holders: int = 0
    content: int = 0
    prefix: _Prefix | None = None


class BlockPool:
    """Gives out cache blocks, and finds full blocks by their tokens, so that a common beginning is computed only once.

    The contents of a full block have an id, which is never used again. The key of a block is its own tokens and the id
    of the contents before it. So a block is found only if all tokens from the beginning of the text are the same. A
    free block keeps its contents. When a new block is needed, the one that has been free longest is taken.

    Texts have a cache key too: a text finds only blocks of texts with an equal key.

    Not thread-safe: only the thread that steps calls it.

    Args:
        num_blocks: Blocks in the cache.
        block_size: Positions of a block.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self._blocks = [_Block() for _ in range(num_blocks)]
        # The blocks that nobody holds, longest free first.
        self._free = OrderedDict.fromkeys(range(num_blocks))
        self._known: dict[_Prefix, int] = {}
        self._content_ids = itertools.count(1)

    @property
    def num_blocks(self) -> int:
        """Number of blocks in the cache."""
        return len(self._blocks)

    @property
    def available(self) -> int:
        """Number of blocks that nobody holds."""
        return len(self._free)

    def blocks_for(self, tokens: int) -> int:
        """Return the number of blocks that hold this many tokens."""
        return -(-tokens // self.block_size)

    def take(self) -> int:
        """Return a block for new contents, held once. Its earlier contents are forgotten.

        Raises:
            IndexError: All blocks are held. Check `available` first.
        """
        if not self._free:
            raise IndexError("all blocks of the KV cache are held")
        index, _ = self._free.popitem(last=False)
        block = self._blocks[index]
        if block.prefix is not None:
            del self._known[block.prefix]
        self._blocks[index] = _Block(holders=1)
        return index

    def release(self, table: Sequence[int]) -> None:
        """Give the blocks of a table back. The last block is reused first, so a prefix is forgotten from its end."""
        for index in reversed(table):
            block = self._blocks[index]
            block.holders -= 1
            if block.holders == 0:
                self._free[index] = None

    def share_prefix(self, tokens: Sequence[int], cache_key: str = "") -> list[int]:
        """Hold and return the blocks of the longest cached beginning of these tokens, in order; maybe none."""
        table: list[int] = []
        parent: int | str = cache_key
        for start in range(0, len(tokens) - self.block_size + 1, self.block_size):
            index = self._known.get((parent, tuple(tokens[start : start + self.block_size])))
            if index is None:
                break
            self._blocks[index].holders += 1
            self._free.pop(index, None)
            table.append(index)
            parent = self._blocks[index].content
        return table

    def remember(
        self, tokens: Sequence[int], table: Sequence[int], before: int, after: int, cache_key: str = ""
    ) -> None:
        """Let later prompts find the blocks that a step has just filled.

        Args:
            tokens: The tokens of the text, from its beginning.
            table: The block table of the text.
            before: How many positions were computed before the step.
            after: How many are computed now.
            cache_key: The key of the text.
        """
        for position in range(before // self.block_size, after // self.block_size):
            block = self._blocks[table[position]]
            parent = self._blocks[table[position - 1]].content if position else cache_key
            prefix = (parent, tuple(tokens[position * self.block_size : (position + 1) * self.block_size]))
            known = self._known.get(prefix)
            if known is not None:
                block.content = self._blocks[known].content
            else:
                block.content = next(self._content_ids)
                block.prefix = prefix
                self._known[prefix] = table[position]
