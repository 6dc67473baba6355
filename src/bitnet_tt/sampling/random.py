"""The random numbers of a text: one for each position, from the seed alone.

A number depends on the seed, the choice and the position, and on nothing else. So a text does not depend on the batch,
and a request that is preempted, speculated on or moved to another machine has no random state to carry.
"""

from __future__ import annotations

import secrets

_WORD = (1 << 64) - 1
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_KEY_STEP_0, _KEY_STEP_1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_ROUNDS = 10


class RandomNumbers:
    """The random numbers of one text.

    Args:
        seed: From 0 to 2**64 - 1. None takes a seed from the operating system.
        choice: Which of several texts of the same prompt and seed this is; the first is 0.

    Attributes:
        seed: The seed.
        choice: The choice.
    """

    __slots__ = ("choice", "seed")

    def __init__(self, seed: int | None, choice: int = 0) -> None:
        self.seed = secrets.randbits(64) if seed is None else seed
        self.choice = choice

    def below(self, total: int, position: int) -> int:
        """Return the random integer of a position, from 0 to `total` - 1; `total` is at most 2**63.

        The integer is floor(r * total / 2**64) for the first word r of a block of Philox. Integer arithmetic is exact,
        so no rounding mode of a processor can change the result.

        Args:
            total: How many integers there are.
            position: How many tokens the text has before the one that is picked, prompt included.
        """
        return (philox((position, self.choice, 0, 0), (self.seed, 0))[0] * total) >> 64


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a block of Philox4x64-10: four random 64-bit words.

    Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011. NumPy's Philox makes the same
    blocks, but adds 1 to its counter before each of them.

    Args:
        counter: Four 64-bit words.
        key: Two 64-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The high halves of two 128-bit products are mixed with the other words and the key; the low halves stay.
        first, second = _MULTIPLIER_0 * c0, _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = second >> 64 ^ c1 ^ k0, second & _WORD, first >> 64 ^ c3 ^ k1, first & _WORD
        k0, k1 = k0 + _KEY_STEP_0 & _WORD, k1 + _KEY_STEP_1 & _WORD
    return c0, c1, c2, c3
