"""Export a training checkpoint to a Hugging Face folder in the packed layout of BitNet b1.58 2B4T.

    python export.py --work /tmp/train-demo/demo --out ../../src/bitnet_tt/assets/demo

The folder is written under another name and then renamed, so that readers never see half a model.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from data import BEGIN, CHAT_TEMPLATE, END, END_OF_TURN, load_tokenizer, special_ids
from model import BitLinear, Decoder, ModelConfig, quantise_weights

README = """# bitnet-tt demo model

A small BitNet b1.58 language model in the architecture of BitNet b1.58 2B4T, trained from scratch on generated text.
Licence: MIT, like the rest of bitnet-tt. The model card is docs/demo-model.md; tools/train_demo made it.
"""


def pack_ternary(ternary: Tensor) -> Tensor:
    """Pack {-1, 0, 1} of shape (out, in) into uint8 (out/4, in): bits 2i..2i+1 of byte [r, c] hold row i*out/4 + r."""
    out_features = ternary.shape[0]
    if out_features % 4:
        raise ValueError(f"{out_features} output rows cannot be packed by four")
    quarters = (ternary + 1).to(torch.uint8).view(4, out_features // 4, -1)
    return quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6


def load_checkpoint(path: Path) -> Decoder:
    """Load the decoder of a training checkpoint, in evaluation mode."""
    checkpoint = torch.load(path, weights_only=True)
    model = Decoder(ModelConfig(**checkpoint["config"]))
    model.load_state_dict(checkpoint["model"])
    return model.eval()


def packed_tensors(model: Decoder) -> dict[str, Tensor]:
    """Return all tensors of model.safetensors: packed weights, float32 scales, bfloat16 norms and embedding."""
    tensors: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, BitLinear):
            ternary, scale = quantise_weights(module.weight.detach())
            tensors[f"model.{name}.weight"] = pack_ternary(ternary)
            tensors[f"model.{name}.weight_scale"] = scale.reshape(1)
    for name, parameter in model.named_parameters():
        if f"model.{name}" not in tensors:
            tensors[f"model.{name}"] = parameter.detach().bfloat16()
    return tensors


def hf_config(config: ModelConfig, ids: dict[str, int]) -> dict[str, Any]:
    """Return the fields of config.json."""
    return {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "vocab_size": config.vocab_size,
        "hidden_act": "relu2",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": ids[BEGIN],
        "eos_token_id": ids[END],
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
            "modules_to_not_convert": ["lm_head"],
        },
    }


def export(work: Path, out: Path) -> None:
    """Write the checkpoint in the folder `work` as a model folder `out`; replace `out` if it exists."""
    model, tokenizer = load_checkpoint(work / "checkpoint.pt"), load_tokenizer(work)
    ids = dict(zip((BEGIN, END, END_OF_TURN), special_ids(tokenizer), strict=True))
    temporary, previous = out.with_name(out.name + ".new"), out.with_name(out.name + ".old")
    temporary.mkdir(parents=True)
    tensors = packed_tensors(model)
    ternary = sum(4 * tensor.numel() for tensor in tensors.values() if tensor.dtype == torch.uint8)
    print(f"{ternary} ternary weights, {model.embed_tokens.weight.numel()} embedding weights in bfloat16")
    save_file(tensors, str(temporary / "model.safetensors"), metadata={"format": "pt"})
    (temporary / "model.safetensors").chmod(0o644)  # safetensors makes it private, but every user must read it
    tokenizer.post_processor = TemplateProcessing(single=[BEGIN, "$A"], special_tokens=[(BEGIN, ids[BEGIN])])
    tokenizer.save(str(temporary / "tokenizer.json"))
    write_json(temporary / "config.json", hf_config(model.config, ids))
    write_json(
        temporary / "generation_config.json",
        {"bos_token_id": ids[BEGIN], "eos_token_id": [ids[END_OF_TURN], ids[END]], "do_sample": False},
    )
    write_json(
        temporary / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "add_bos_token": True,
            "clean_up_tokenization_spaces": False,
            "model_max_length": model.config.max_position_embeddings,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    (temporary / "README.md").write_text(README)
    if out.exists():
        out.rename(previous)
    temporary.rename(out)
    shutil.rmtree(previous, ignore_errors=True)
    for file in sorted(out.iterdir()):
        print(f"{file.stat().st_size:9d}  {file.name}")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="work folder of train.py")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    args = parser.parse_args()
    export(args.work, args.out)


if __name__ == "__main__":
    main()
