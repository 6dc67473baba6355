"""The training loop: AdamW, a learning rate that rises and falls, and weight decay in the first half."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bitnet_tt.pytorch import BitNet
from tools.train_bitnet.text import draw_windows


@dataclass(frozen=True, slots=True)
class Schedule:
    """The settings of a training.

    Attributes:
        steps: Number of optimiser steps.
        batch: Windows in a step.
        length: Tokens in a window.
        rate: Highest learning rate.
        seed: Seed of the order of the windows.
    """

    steps: int
    batch: int
    length: int
    rate: float
    seed: int

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: it rises over the first twentieth, then falls like a cosine."""
        warmup = max(1, self.steps // 20)
        if step < warmup:
            return self.rate * (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(module: BitNet, ids: NDArray[np.int64], schedule: Schedule, report: Callable[[int, float], None]) -> None:
    """Train a model on the token ids of a text.

    Args:
        module: The model; its linears are TrainableBitLinear or FloatLinear.
        ids: The text, int64 [tokens].
        schedule: The settings.
        report: Called with the number of steps done and the loss of the last one, in nats a token.

    Raises:
        RequestError: The text is shorter than a window.
    """
    matrices = [p for name, p in module.named_parameters() if name.startswith("layers.") and p.ndim == 2]
    others = [p for name, p in module.named_parameters() if not (name.startswith("layers.") and p.ndim == 2)]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=schedule.rate, betas=(0.9, 0.95))
    rng = np.random.default_rng(schedule.seed)
    module.train()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(step)
            if step == schedule.steps // 2:  # as in the two-stage recipe of BitNet b1.58 2B4T
                group["weight_decay"] = 0.0
        rows = torch.from_numpy(draw_windows(ids, schedule.batch, schedule.length + 1, rng))
        logits, _, _ = module(rows[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        report(step + 1, float(loss.detach()))
    module.eval()
