"""Compare an exported folder with its checkpoint. An independent NumPy forward pass computes the folder.

    python check_export.py --work /tmp/train-demo/demo --folder ../../src/bitnet_tt/assets/demo

Prints the correlation of all logits and the share of positions with the same top-1 token. The exit code is 1 if one of
them is too low. The forward pass here shares no code with model.py: both follow the same specification.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from corpus.stories import make_story
from data import encode_document, load_tokenizer
from export import load_checkpoint

Array = NDArray[np.float32]


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """Return gain * x / sqrt(mean(x^2) + eps)."""
    return gain * (x / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(eps)))


class PackedModel:
    """An exported folder in NumPy: float32 activations, integer products in int32."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = {}
        for name, tensor in load_file(folder / "model.safetensors").items():
            self.tensors[name] = tensor.numpy() if tensor.dtype == torch.uint8 else tensor.float().numpy()

    def linear(self, x: Array, name: str) -> Array:
        """Return the BitLinear of docs/numerics.md, computed from the packed bytes."""
        packed, scale = self.tensors[name + ".weight"], self.tensors[name + ".weight_scale"][0]
        if np.any((packed & (packed >> 1) & 0x55) != 0):
            raise ValueError(f"{name}: code 3 occurs")
        ternary = np.concatenate([(packed >> shift & 3).astype(np.int32) - 1 for shift in (0, 2, 4, 6)])
        token_scale = np.float32(127) / np.maximum(np.abs(x).max(-1, keepdims=True), np.float32(1e-5))
        q = np.clip(np.rint(x * token_scale), -128, 127).astype(np.int32)
        product: Array = (q @ ternary.T).astype(np.float32) * (scale / token_scale)
        return product

    def rotate(self, x: Array) -> Array:
        """Return the half-split rotary embedding of x, shape (length, heads, head_dim)."""
        dim = x.shape[-1]
        frequencies = self.config["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
        angles = np.arange(x.shape[0])[:, None, None] * np.concatenate([frequencies, frequencies])
        swapped = np.concatenate([-x[..., dim // 2 :], x[..., : dim // 2]], -1)
        rotated: Array = (x * np.cos(angles) + swapped * np.sin(angles)).astype(np.float32)
        return rotated

    def attention(self, x: Array, prefix: str) -> Array:
        """Return causal grouped-query attention over x, shape (length, hidden)."""
        length, dim = len(x), self.config["head_dim"]
        q, k, v = (self.linear(x, f"{prefix}.{part}_proj").reshape(length, -1, dim) for part in "qkv")
        groups = q.shape[1] // k.shape[1]
        q, k, v = self.rotate(q), np.repeat(self.rotate(k), groups, 1), np.repeat(v, groups, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.float32(dim**0.5)
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, v).reshape(length, -1).astype(np.float32)
        gain = self.tensors[f"{prefix}.attn_sub_norm.weight"]
        return self.linear(rms_norm(mixed, gain, self.config["rms_norm_eps"]), f"{prefix}.o_proj")

    def logits(self, ids: list[int]) -> Array:
        """Return the logits, shape (length, vocab)."""
        eps, weights = self.config["rms_norm_eps"], self.tensors
        h = weights["model.embed_tokens.weight"][ids]
        for index in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{index}"
            h = h + self.attention(rms_norm(h, weights[f"{prefix}.input_layernorm.weight"], eps), f"{prefix}.self_attn")
            n = rms_norm(h, weights[f"{prefix}.post_attention_layernorm.weight"], eps)
            inner = np.maximum(self.linear(n, f"{prefix}.mlp.gate_proj"), 0) ** 2 * self.linear(
                n, f"{prefix}.mlp.up_proj"
            )
            inner = rms_norm(inner, weights[f"{prefix}.mlp.ffn_sub_norm.weight"], eps)
            h = h + self.linear(inner, f"{prefix}.mlp.down_proj")
        result: Array = rms_norm(h, weights["model.norm.weight"], eps) @ weights["model.embed_tokens.weight"].T
        return result


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="work folder of train.py")
    parser.add_argument("--folder", type=Path, required=True, help="model folder written by export.py")
    parser.add_argument("--texts", type=int, default=10, help="held-out stories to compare on (default 10)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    packed, master, tokenizer = (
        PackedModel(args.folder),
        load_checkpoint(args.work / "checkpoint.pt"),
        load_tokenizer(args.folder),
    )
    rng, ours, theirs = random.Random(7), [], []
    for _ in range(args.texts):
        ids = encode_document(tokenizer, make_story(rng, evaluation=True).text, rng)
        ours.append(packed.logits(ids))
        with torch.inference_mode():
            theirs.append(master(torch.tensor([ids])).numpy())
    a, b = np.concatenate(ours), np.concatenate(theirs)
    correlation, agreement = (
        float(np.corrcoef(a.ravel(), b.ravel())[0, 1]),
        float((a.argmax(-1) == b.argmax(-1)).mean()),
    )
    print(f"{len(a)} positions: correlation {correlation:.6f}, same top-1 {agreement:.4f}")
    sys.exit(correlation < 0.999 or agreement < 0.97)


if __name__ == "__main__":
    main()
