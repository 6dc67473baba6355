"""The options of a backend: one dataclass, from the command line and `from_pretrained` down to the device."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, get_args

from bitnet_tt.checks import is_int, require

Device = Literal["auto", "cpu", "tt"]
Precision = Literal["exact", "fast"]
TernaryTiles = Literal["codes", "bfp2"]

MAX_CARDS = 8
"""Cards of a model: as many p150 cards as ttnn has a description of."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """The device and its settings.

    Attributes:
        device: `cpu`, `tt` (a Tenstorrent card), or `auto`: the CPU, the one device that every machine has.
        threads: CPU only: the maximum number of threads of a step. None means one for each physical core that this
            process may use.
        isa: CPU only: the instruction set to use. It changes no bit of a result. None means the fastest.
        precision: Tenstorrent card only: `exact` has an lm_head in bfloat16, as the checkpoint; `fast` one of 8 bits.
            Everything else is float32 in both. The CPU is always exact.
        ternary_tiles: Tenstorrent card only: the form of ternary weights in its memory. `codes` are 2 bits a weight,
            and the unpacker takes their exponent from a register. `bfp2` stores the exponents too, 2.5 bits a weight,
            for cards or simulators where that register does not work. It changes no bit of a result.
        cards: Tenstorrent cards only: how many share the layers of the model, from 1 to 8. It changes no bit of a
            result.
        tensor_parallel: Whether 2 cards share every matrix instead of the layers. It changes no bit of a result.
    """

    device: Device = "auto"
    threads: int | None = None
    isa: str | None = None
    precision: Precision = "fast"
    ternary_tiles: TernaryTiles = "codes"
    cards: int = 1
    tensor_parallel: bool = False

    def __post_init__(self) -> None:
        """Check the settings alone; `check_model` checks them with a model.

        Raises:
            ConfigError: A setting has the wrong type, or is out of range.
        """
        known = self.threads is None or is_int(self.threads, -sys.maxsize, sys.maxsize)
        require("threads", self.threads, "None or an integer", known)
        for name, value, kind in (
            ("precision", self.precision, Precision),
            ("ternary_tiles", self.ternary_tiles, TernaryTiles),
        ):
            names = get_args(kind)
            require(name, value, " or ".join(map(repr, names)), value in names)
        require("cards", self.cards, f"an integer from 1 to {MAX_CARDS}", is_int(self.cards, 1, MAX_CARDS))
        require("tensor_parallel", self.tensor_parallel, "True or False", isinstance(self.tensor_parallel, bool))

    @property
    def resolved_device(self) -> Literal["cpu", "tt"]:
        """The device that `device` means on this machine."""
        return "cpu" if self.device == "auto" else self.device
