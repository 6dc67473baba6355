"""Make small random checkpoints, and record the logits and embeddings that transformers computes for them in float32.

README.md says how to make the environment. BitNet-TT is not needed in it.

    TORCHDYNAMO_DISABLE=1 python tools/record_transformers/record_logits.py tests/golden

Each checkpoint has the tensor names and the settings of a published family. Its weights come from a seed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

VOCAB, HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS = 512, 128, 256, 2, 4, 2
PACKED = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}
DIVIDE = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}
EMBEDDING = {
    "quant_method": "bitnet",
    "linear_class": "autobitlinear",
    "quantization_mode": "online",
    "use_rms_norm": True,
    "rms_norm_eps": 1e-6,
}
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": True,
}
QWEN3 = SIZES | {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "head_dim": 64,
    "rope_theta": 1000000,
    "use_sliding_window": False,
    "sliding_window": None,
    "max_window_layers": LAYERS,
}
LLAMA = SIZES | {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "rope_theta": 500000.0, "head_dim": 64}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "qwen3-packed-yarn": QWEN3 | {"tie_word_embeddings": False, "rope_scaling": YARN, "quantization_config": PACKED},
    "qwen3-embedding": QWEN3 | {"architectures": ["Qwen3Model"], "torch_dtype": "bfloat16"},
    "llama-packed-llama3": LLAMA | {"rope_scaling": {"rope_type": "llama3", **LLAMA3}, "quantization_config": DIVIDE},
    "llama-packed-linear": LLAMA | {"rope_scaling": {"type": "linear", "factor": 4.0}, "quantization_config": DIVIDE},
    "ternary-bonsai": QWEN3 | {"tie_word_embeddings": False, "rope_scaling": YARN, "torch_dtype": "float16"},
}
GROUP = 128
"""Weights of Ternary-Bonsai that share a scale. Its activations are not quantised."""


def random_tensors(config: dict[str, Any], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return random tensors with the names that transformers knows; bfloat16, packed codes, or ternary float16."""
    grouped = config.get("torch_dtype") == "float16"

    def floats(*shape: int) -> torch.Tensor:
        if grouped:
            return groups(*shape)
        return torch.randn(shape, generator=generator).bfloat16()

    def groups(rows: int, columns: int) -> torch.Tensor:
        shares = torch.tensor([0.29, 0.42, 0.29])  # of -1, 0 and 1
        values = torch.multinomial(shares, rows * columns, replacement=True, generator=generator) - 1
        scales = (0.5 + torch.rand((rows, columns // GROUP, 1), generator=generator)).half()
        return (values.reshape(rows, -1, GROUP) * scales).reshape(rows, columns)

    def gain(size: int) -> torch.Tensor:
        if grouped:
            return (0.5 + torch.rand(size, generator=generator)).half()
        return (0.5 + torch.rand(size, generator=generator)).bfloat16()

    quantization = config.get("quantization_config", EMBEDDING)
    query, kv = HEADS * config["head_dim"], KV_HEADS * config["head_dim"]
    linears = {
        "self_attn.q_proj": (query, HIDDEN),
        "self_attn.k_proj": (kv, HIDDEN),
        "self_attn.v_proj": (kv, HIDDEN),
        "self_attn.o_proj": (HIDDEN, query),
        "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
        "mlp.up_proj": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj": (HIDDEN, INTERMEDIATE),
    }
    tensors = {"model.embed_tokens.weight": floats(VOCAB, HIDDEN) / 4, "model.norm.weight": gain(HIDDEN)}
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = floats(VOCAB, HIDDEN) / 4
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{norm}.weight"] = gain(HIDDEN)
        if config["model_type"] == "qwen3":
            for norm in ("q_norm", "k_norm"):
                tensors[f"{prefix}self_attn.{norm}.weight"] = gain(config["head_dim"])
        for name, (rows, columns) in linears.items():
            path = prefix + name
            if grouped:
                tensors[path + ".weight"] = floats(rows, columns) / 8
                continue
            if quantization.get("quantization_mode") == "online":
                tensors[path + ".weight"] = floats(rows, columns)
                tensors[path + ".rms_norm.weight"] = gain(columns)
                continue
            shares = torch.tensor([0.29, 0.42, 0.29])  # of -1, 0 and 1
            codes = torch.multinomial(shares, rows * columns, replacement=True, generator=generator).to(torch.uint8)
            first, second, third, fourth = codes.reshape(4, rows // 4, columns)
            scale = 0.5 + torch.rand(1, generator=generator)
            tensors[path + ".weight"] = first | second << 2 | third << 4 | fourth << 6
            tensors[path + ".weight_scale"] = (scale if "linear_class" in quantization else 1 / scale).bfloat16()
    return tensors


def write(folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write a checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


@torch.no_grad()
def record(folder: Path, generator: torch.Generator) -> dict[str, np.ndarray]:
    """Return what transformers computes for a checkpoint: logits of two texts, a greedy continuation, embeddings."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(3, VOCAB, (2, 33), generator=generator)
    prompt = torch.randint(3, VOCAB, (9,), generator=generator)
    tokens, margins = prompt.tolist(), []
    for _ in range(32):
        second, first = model(torch.tensor([tokens])).logits[0, -1].topk(2).values.flip(0)
        margins.append(float(first - second))
        tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    hidden = model.model(ids).last_hidden_state
    return {
        "input_ids": ids.numpy(),
        "logits": model(ids).logits.numpy(),
        "greedy_prompt": prompt.numpy(),
        "greedy_ids": np.array(tokens[len(prompt) :]),
        "greedy_margin": np.array(margins, np.float32),
        # Last-token pooling and the L2 norm of each beginning of the texts.
        "embeddings": torch.nn.functional.normalize(hidden, dim=-1).numpy(),
    }


def main() -> None:
    """Write all checkpoints into the folder of the command line."""
    target = Path(sys.argv[1])
    for seed, (name, config) in enumerate(CHECKPOINTS.items()):
        generator = torch.Generator().manual_seed(seed)
        tensors = random_tensors(config, generator)
        quantization = {} if config.get("torch_dtype") == "float16" else {"quantization_config": EMBEDDING}
        with tempfile.TemporaryDirectory() as temporary:
            exact = {key: value if value.dtype == torch.uint8 else value.float() for key, value in tensors.items()}
            write(Path(temporary), {**quantization, **config, "torch_dtype": "float32"}, exact)
            expected = record(Path(temporary), generator)
        if quantization and "quantization_config" not in config:
            # bitnet-embedding names its norms so, and is saved without an lm_head: its names lack the first part.
            published = {key.replace(".rms_norm.", ".norm."): value for key, value in tensors.items()}
            tensors = {key.removeprefix("model."): value for key, value in published.items()}
        write(target / name, config, tensors)
        np.savez_compressed(target / name / "expected.npz", **expected)


if __name__ == "__main__":
    main()
