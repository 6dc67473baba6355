"""Make a random low-rank adapter (LoRA) with PEFT, and record the logits that transformers computes with it in float32.

README.md says how to make the environment; it also needs the package peft.

    TORCHDYNAMO_DISABLE=1 python tools/record_transformers/record_adapter.py tests/golden/bitnet-packed

The adapter goes into a folder `adapter` of the checkpoint. It adapts all linears of the layers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    """Write the adapter and the logits for the checkpoint of the command line."""
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(r=3, lora_alpha=8, target_modules=LINEARS)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros at first: the adapter would do nothing
            torch.nn.init.normal_(parameter, std=0.05)
        if "lora_" in name:  # saved in bfloat16 below
            parameter.data = parameter.data.bfloat16().float()
    with torch.no_grad(), np.load(folder / "expected.npz") as expected:
        logits = model(torch.from_numpy(expected["input_ids"])).logits.numpy()
    target = folder / "adapter"
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.bfloat16()
    model.save_pretrained(target)
    (target / "README.md").unlink()
    np.savez_compressed(target / "expected.npz", logits=logits)


if __name__ == "__main__":
    main()
