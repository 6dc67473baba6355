"""Train the demo model, or with --float its twin, on the same generated tokens in the same order.

    python train.py --out /tmp/train-demo/demo
    python train.py --out /tmp/train-demo/twin --float
    python train.py --out /tmp/train-demo/demo-practised --practice /tmp/train-demo/demo --steps 1500 --peak 1.5e-3

--practice continues from the model in another folder, with a new optimiser and mostly questions.
Prints one line per 50 steps and writes a folder of master weights, which it replaces atomically while it trains.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bitnet_tt.pytorch import BitNet, FloatLinear, TrainableBitLinear
from bitnet_tt.pytorch.decoder import Output
from bitnet_tt.pytorch.training import load_masters
from data import load_tokenizer, pack, train_tokenizer
from export import VOCAB_SIZE, demo_config, save

TOKENIZER_SEED, DATA_SEED, PRACTICE_SEED = 1, 100, 200


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A part of the schedule with one window length. Every step has `tokens` tokens."""

    length: int
    steps: int
    long_chats: bool
    practice: bool = False
    tokens: int = 2048


def learning_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Return the learning rate of a step: linear warmup, then a cosine to one hundredth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def optimiser_for(model: BitNet) -> torch.optim.AdamW:
    """Return AdamW. Only the matrices of the layers have weight decay."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [model.embed_tokens.weight, *(p for p in model.parameters() if p.ndim == 1)]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def train(args: argparse.Namespace) -> None:
    """Run the whole schedule."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # integer operands stay exact, sums are float32
    linear = FloatLinear if args.float else TrainableBitLinear
    stages = [
        Stage(length=256, steps=args.steps - args.steps // 5, long_chats=False, practice=bool(args.practice)),
        Stage(length=512, steps=args.steps // 5, long_chats=True, practice=bool(args.practice)),
    ]
    if args.practice:
        tokenizer, model = load_tokenizer(args.practice), load_masters(args.practice, linear=linear)
    else:
        tokenizer, model = train_tokenizer(VOCAB_SIZE, TOKENIZER_SEED), BitNet(demo_config(), linear=linear)
    optimiser = optimiser_for(model)
    forward = torch.compile(model.prefill, dynamic=False) if args.compile else model.prefill
    step, started, log = 0, time.monotonic(), []
    for number, stage in enumerate(stages):
        batch = stage.tokens // stage.length
        seed = (PRACTICE_SEED if stage.practice else DATA_SEED) + number + len(stages) * args.seed
        windows = pack(
            tokenizer,
            seed,
            stage.length,
            stage.steps * batch,
            long_chats=stage.long_chats,
            practice=stage.practice,
        )
        for index in range(stage.steps):
            rows = torch.from_numpy(windows[index * batch : (index + 1) * batch].astype(np.int64))
            rate = learning_rate(step, args.steps, args.peak)
            for group in optimiser.param_groups:
                group["lr"] = rate
                if step == args.steps // 2:  # the second half trains without decay, as in the two-stage BitNet recipe
                    group["weight_decay"] = 0.0
            loss = train_step(forward, model, optimiser, rows)
            step += 1
            log.append(float(loss))
            if step % 50 == 0:
                speed = step * stage.tokens / (time.monotonic() - started)
                print(f"step {step} loss {np.mean(log[-50:]):.4f} lr {rate:.2e} tokens/s {speed:.0f}", flush=True)
            if step % args.save_every == 0 or step == args.steps:
                save(model, tokenizer, args.out)
    summary = {"steps": step, "tokens": step * stages[0].tokens, "seconds": round(time.monotonic() - started)}
    print(json.dumps(summary))


def train_step(
    forward: Callable[[Tensor, Tensor], Output], model: BitNet, optimiser: torch.optim.AdamW, rows: Tensor
) -> Tensor:
    """Run one optimiser step on windows of shape (batch, length + 1); return the loss."""
    ids = rows[:, :-1]
    logits, _, _ = forward(ids, other_document(ids))
    loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return loss.detach()


def other_document(ids: Tensor) -> Tensor:
    """Return which tokens of a packed window are not in the same document. A document starts with token id 0."""
    document = (ids == 0).cumsum(-1)
    return document[:, None, :, None] != document[:, None, None, :]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of master weights to write; replaced if it exists"
    )
    parser.add_argument("--float", action="store_true", help="train the float twin: plain linears, nothing quantised")
    parser.add_argument("--practice", type=Path, help="continue from the model in this folder, mostly with questions")
    parser.add_argument("--steps", type=int, default=5200, help="optimiser steps of 2048 tokens (default 5200)")
    parser.add_argument("--peak", type=float, default=3e-3, help="highest learning rate (default 3e-3)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial weights and of the text (default 0)")
    parser.add_argument("--save-every", type=int, default=250, help="steps between two writes (default 250)")
    parser.add_argument("--compile", action="store_true", help="use torch.compile (needs a C++ compiler)")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
