"""On a simulator of the chip, the programs that TT-Forge compiles have the right integers and follow transformers.

Run it with pytest -m simulator and TT_METAL_SIMULATOR set, after `make forge`.
"""

from __future__ import annotations

import json
import os
from contextlib import closing

import numpy as np
import pytest

from bitnet_tt.reference.compare import Bars, compare_logits
from tests import golden_checkpoints as golden
from tests.forge.toolchain import Toolchain, needs_compiler
from tests.forge.ttnn_ir import read

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR is not set"),
    needs_compiler,
]

BARS = Bars(correlation=0.9995, mean_kl=5e-3, clear_top1=0.95)
STEP_BARS = Bars(correlation=0.9994, mean_kl=5e-3, clear_top1=0.95)
"""Of a few tokens, so one integer that is rounded otherwise weighs more."""


STEPS = 3
"""The last tokens of the texts, which `step` computes again, one after the other, in the cache that `prefill` made."""


@pytest.mark.parametrize("name", ["bitnet-packed", "bitnet-master-bf16"])
def test_prefill_and_steps_follow_the_reference(toolchain: Toolchain, name: str) -> None:
    from bitnet_tt.backends.tt.device.mesh import open_cards
    from tests.forge.interpreter import Interpreter

    folder, expected = toolchain.compile(name), golden.expected(name)
    values = np.load(folder / "weights.npz")
    weights = [values[key] for key in json.loads((folder / "weights.json").read_text())]
    ids = expected["input_ids"]
    with closing(open_cards()[0]) as card:
        prefill, step = (
            Interpreter(card, read((folder / f"{program}.mlir").read_text())) for program in ("prefill", "step")
        )
        logits, *cache = prefill.run([*weights, ids])
        agreement = compare_logits(logits, expected["logits"])
        print(name, agreement, f"{prefill.integer_products} integer products")
        for position in range(ids.shape[1] - STEPS, ids.shape[1]):
            new, *cache = step.run([*weights, ids[:, [position]], np.full((len(ids), 1), position), *cache])
            logits[:, [position]] = new
    stepped = compare_logits(logits[:, -STEPS:], expected["logits"][:, -STEPS:])
    print(name, stepped, f"{step.integer_products} integer products in {STEPS} steps")
    assert min(prefill.integer_products, step.integer_products) > 0
    assert prefill.wrong_integers == step.wrong_integers == 0
    assert agreement.meets(BARS)
    assert stepped.meets(STEP_BARS)
