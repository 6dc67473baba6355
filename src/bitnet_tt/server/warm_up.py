"""Before the first request: compare a device with the CPU, and let it compile the programs of common steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bitnet_tt.model import BitNetModel
from bitnet_tt.selftest import check_device

_NEW_TOKENS = 4
"""The first token comes from the prompt. Of the three decode steps, one is launched, one recorded and one replayed."""

_SHORTEST = 32


def warm_up(
    model: BitNetModel, max_batch_size: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Generate texts of common shapes. The CPU has nothing to compile, so there nothing is done.

    Args:
        model: The model. No other thread uses it.
        max_batch_size: Maximum number of texts that are computed together.
        progress: Called with the number of finished shapes and of all shapes.

    Raises:
        DeviceError: The device computes wrong.
    """
    if model.options.resolved_device == "cpu":
        return
    check_device(model)
    random = np.random.default_rng(0)  # prompts that begin differently share no cache, so that each is computed
    shapes = [(count, 1) for count in batch_sizes(max_batch_size)]
    shapes += [(1, length) for length in lengths(model.engine.context_length - _NEW_TOKENS)]
    for done, shape in enumerate(shapes):
        progress(done, len(shapes))
        batch = random.integers(0, model.config.vocab_size, shape).tolist()
        for temperature in (0.0, 1.0):  # the device finds one logit of each row, or several
            model.generate(batch, max_new_tokens=_NEW_TOKENS, ignore_eos=True, temperature=temperature, seed=0)
    progress(len(shapes), len(shapes))


def batch_sizes(most: int) -> list[int]:
    """Return the powers of two below `most`, and `most`: a device pads batches to such sizes."""
    return [1 << power for power in range((most - 1).bit_length())] + [most]


def lengths(longest: int) -> Iterator[int]:
    """Yield four lengths between a length and its double: a device pads contexts to about so many."""
    first = _SHORTEST
    while first <= longest:
        yield from (length for length in range(first, 2 * first, first // 4) if length <= longest)
        first *= 2
