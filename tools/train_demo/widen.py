"""Give a model more inner units in every MLP: the old ones keep their weights, the new ones get random weights.

    python widen.py ../../src/bitnet_tt/assets/demo /tmp/train-demo/wide --units 768

The result is a folder of master weights for `train.py --practice`. Until it is trained, it is worse than the old model.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from bitnet_tt.pytorch import BitNet, TrainableBitLinear
from bitnet_tt.pytorch.training import load_masters
from data import load_tokenizer
from export import save


def widen(model: BitNet, units: int) -> BitNet:
    """Return a copy whose MLPs have `units` inner units.

    New weights have the mean absolute value of their matrix, so that the scale of its ternary weights stays. New gains
    of a norm have the mean of the old ones.
    """
    config = dataclasses.replace(model.config, intermediate_size=units)
    wide = BitNet(config, linear=TrainableBitLinear)
    state = wide.state_dict()
    for name, old in model.state_dict().items():
        new = state[name]
        if new.shape == old.shape:
            new.copy_(old)
        elif old.ndim == 1:
            new.fill_(old.mean())[: len(old)] = old
        else:
            new.normal_().mul_(old.abs().mean() / new.abs().mean())[: old.shape[0], : old.shape[1]] = old
    wide.load_state_dict(state)
    return wide


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder: packed, or written by train.py")
    parser.add_argument("out", type=Path, help="folder of master weights to write; replaced if it exists")
    parser.add_argument("--units", type=int, required=True, help="inner units of each MLP, more than it has")
    args = parser.parse_args()
    torch.manual_seed(0)
    save(widen(load_masters(args.model), args.units), load_tokenizer(args.model), args.out)


if __name__ == "__main__":
    main()
