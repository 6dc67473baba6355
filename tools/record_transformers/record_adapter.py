"""Make a random low-rank adapter (LoRA) with PEFT, and record the logits that transformers computes with it in float32.

README.md says how to make the environment, and has the whole command.

    python record_adapter.py tests/golden/bitnet-packed tests/golden_adapter

The arguments are the checkpoint and the folder for the adapter, which adapts all linears of the layers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from record_logits import write
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(folder: Path) -> PeftModel:
    """Return the model with a random adapter whose numbers are bfloat16 in float32."""
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(r=3, lora_alpha=8, target_modules=LINEARS)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros at first: the adapter would do nothing
            torch.nn.init.normal_(parameter, std=0.05)
        if "lora_" in name:
            parameter.data = parameter.data.bfloat16().float()
    return model


def main() -> None:
    """Write the adapter, and the logits with it."""
    folder, target = map(Path, sys.argv[1:])
    torch.manual_seed(0)
    # transformers computes in float32 only if the checkpoint is float32.
    config = json.loads((folder / "config.json").read_text()) | {"torch_dtype": "float32"}
    tensors = load_file(folder / "model.safetensors")
    exact = {name: value if value.dtype == torch.uint8 else value.float() for name, value in tensors.items()}
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary), config, exact)
        model = adapted(Path(temporary))
    with torch.no_grad(), np.load(folder / "expected.npz") as expected:
        ids = torch.from_numpy(expected["input_ids"])
        logits = model(ids).logits.numpy()
        with model.disable_adapter():
            error = np.abs(model(ids).logits.numpy() - expected["logits"]).max()
        assert error < 1e-3, error
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.bfloat16()
    model.save_pretrained(target)
    settings = json.loads((target / "adapter_config.json").read_text()) | {"base_model_name_or_path": None}
    (target / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (target / "README.md").unlink()
    np.savez_compressed(target / "expected.npz", logits=logits)


if __name__ == "__main__":
    main()
