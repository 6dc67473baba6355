"""Continue texts with a BitNet module: a small loop of static shapes, for checks and for compiled modules.

`BitNetModel` serves and samples; this picks the most probable token and knows no text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bitnet_tt.errors import RequestError
from bitnet_tt.pytorch.decoder import BitNet


@torch.inference_mode()
def logits(module: BitNet, token_ids: Sequence[int]) -> NDArray[np.float32]:
    """Return the logits of every position of a text, float32 [tokens, vocab], as `BitNetModel.logits` does."""
    ids = torch.tensor([list(token_ids)], dtype=torch.int32, device=module.slots.device)
    return np.asarray(module.prefill(ids)[0][0].cpu())


@torch.inference_mode()
def generate(
    module: BitNet,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int = 32,
    *,
    stop_token_ids: Collection[int] = (),
    pad_to: int = 32,
    compiled: nn.Module | None = None,
) -> list[list[int]]:
    """Continue each prompt greedily. All of them are computed together.

    Args:
        module: The model.
        prompts: Token ids of at most `module.batch` prompts.
        max_new_tokens: Maximum number of new tokens of each.
        stop_token_ids: Ids that end a text. They are not part of the result.
        pad_to: Prompts are padded to a multiple of this many tokens, so that a compiler sees few shapes.
        compiled: The result of `torch.compile(module, ...)`, which then computes; None to compute with the module.

    Returns:
        The new ids of each prompt.

    Raises:
        RequestError: There are no prompts or too many, or one is empty or leaves no room for a new token.
    """
    run, device = compiled or module, module.slots.device
    if not 1 <= len(prompts) <= module.batch:
        raise RequestError(f"{len(prompts)} prompts do not fit a module of batch {module.batch}")
    lengths = [len(prompt) for prompt in prompts]
    if min(lengths) < 1 or max(lengths) >= module.max_length:
        raise RequestError(f"prompts must have from 1 to {module.max_length - 1} tokens, not {lengths}")
    # Rows without a prompt, and tokens after a prompt, are zeros. Nothing reads them: a new token overwrites the slot
    # of its position before anything attends to it.
    padded = min(-(-max(lengths) // pad_to) * pad_to, module.max_length)
    ids = torch.zeros(module.batch, padded, dtype=torch.int32)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int32)
    positions = torch.zeros(module.batch, 1, dtype=torch.int32)
    positions[: len(prompts), 0] = torch.tensor(lengths, dtype=torch.int32) - 1
    scores, keys, values = run(ids.to(device))
    scores = scores.cpu()[torch.arange(module.batch), positions[:, 0]]
    texts: list[list[int]] = [[] for _ in prompts]
    running = set(range(len(prompts)))
    for count in range(max_new_tokens):
        new = scores.argmax(-1).to(torch.int32)
        positions = positions + 1
        for row in sorted(running):
            token = int(new[row])
            if token in stop_token_ids:
                running.remove(row)
                continue
            texts[row].append(token)
            if lengths[row] + len(texts[row]) >= module.max_length:
                running.remove(row)
        if not running or count + 1 == max_new_tokens:
            break
        at = positions.clamp(max=module.max_length - 1).to(device)
        scores, keys, values = run(new[:, None].to(device), at, keys, values)
        scores = scores.cpu()[:, 0]
    return texts
