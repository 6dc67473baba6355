"""On a simulator of the chip, the programs that TT-Forge compiles have the right integers and follow transformers.

Run it with pytest -m simulator and TT_METAL_SIMULATOR set, after `make forge`.
"""

from __future__ import annotations

import json
import os

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


@pytest.mark.parametrize("name", ["bitnet-packed", "bitnet-master-bf16"])
def test_prefill_follows_the_reference(toolchain: Toolchain, name: str) -> None:
    from bitnet_tt.backends.tt.device.mesh import open_cards
    from tests.forge.interpreter import Interpreter

    folder, expected = toolchain.compile(name), golden.expected(name)
    weights = np.load(folder / "weights.npz")
    inputs = [weights[key] for key in json.loads((folder / "weights.json").read_text())]
    card = open_cards()[0]
    interpreter = Interpreter(card, read((folder / "prefill.mlir").read_text()))
    logits = interpreter.run([*inputs, expected["input_ids"]])[0]
    card.close()
    agreement = compare_logits(logits, expected["logits"])
    print(name, agreement, f"{interpreter.integer_products} integer products")
    assert interpreter.integer_products > 0
    assert interpreter.wrong_integers == 0
    assert agreement.meets(BARS)
