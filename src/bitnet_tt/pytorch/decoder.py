"""The decoder of BitNet b1.58 2B4T (arXiv 2504.12285), and of ternary Llama and Qwen3 models, as a torch.nn.Module.

It is written for compilers as much as for readers: shapes are static, no branch depends on data, and all constant
tensors are buffers. The KV cache goes in and comes out, so a call has no side effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bitnet_tt.checkpoint import Checkpoint, resolve
from bitnet_tt.checks import is_int
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import ConfigError
from bitnet_tt.pytorch.bitlinear import BitLinear, Linear
from bitnet_tt.pytorch.layer import Layer, Placement
from bitnet_tt.pytorch.load import as_tensors
from bitnet_tt.pytorch.norm import RMSNorm
from bitnet_tt.rope import rope_tables

_HIDDEN = -1e30
"""Added to the score of a key that a token must not see. Minus infinity would give NaN where all keys are hidden."""

type Cache = Sequence[Tensor]
"""The keys or the values of each layer."""

type Output = tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]
"""Logits, keys and values."""


class BitNet(nn.Module):
    """A BitNet b1.58 model: token ids go in, logits come out.

    `prefill` reads the beginning of texts, `step` continues them with a KV cache. `forward` is one or the other, for
    `torch.compile` and `torch.export`.

    The cache has for each layer the rotated keys and the values, float32 [batch, kv_heads, max_length, head_dim]. Slot
    i holds the token at position i.

    Attributes:
        config: The shape of the model.
        batch: Number of texts in a cache.
        max_length: Maximum number of tokens of a text: the slots of a cache.
    """

    def __init__(
        self, config: ModelConfig, *, batch: int = 1, max_length: int | None = None, linear: Linear = BitLinear
    ) -> None:
        """Create a model. Its BitLinears have no values yet; other linears are random.

        Args:
            config: The shape of the model.
            batch: Number of texts in a cache.
            max_length: Maximum number of tokens of a text. None means the model's limit, which is also the maximum.
            linear: The class of the linears: BitLinear to run, TrainableBitLinear to train, FloatLinear for a model
                in which nothing is quantised.

        Raises:
            ConfigError: `batch` or `max_length` is out of range, or the weights have group scales.
        """
        super().__init__()
        if config.quantization.group_size is not None:
            raise ConfigError(
                f"the weights have a scale for each group of {config.quantization.group_size}, as those of "
                "Ternary-Bonsai; the PyTorch module has one scale for each matrix: use BitNetModel on the CPU"
            )
        limit = config.max_position_embeddings
        max_length = limit if max_length is None else max_length
        if not is_int(max_length, 1, limit):
            raise ConfigError(f"max_length must be from 1 to {limit}, this model's limit, not {max_length!r}")
        if not is_int(batch, 1):
            raise ConfigError(f"batch must be a positive integer, not {batch!r}")
        self.config = config
        self.batch = batch
        self.max_length = max_length
        shape = (config.vocab_size, config.hidden_size)
        self.embed_tokens = nn.Embedding.from_pretrained(linear.embedding(*shape), freeze=False)
        self.layers = nn.ModuleList(Layer(config, linear) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = None if config.tie_word_embeddings else LMHead(linear.embedding(*shape))
        cos, sin = (np.concatenate([table, table], axis=-1) for table in rope_tables(config, max_length))
        self.register_buffer("cos", torch.from_numpy(cos), persistent=False)
        self.register_buffer("sin", torch.from_numpy(sin), persistent=False)
        self.register_buffer("slots", torch.arange(max_length, dtype=torch.float32), persistent=False)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "demo",
        *,
        batch: int = 1,
        max_length: int | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        masters: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Load a model to run.

        Args:
            model: `demo` (the model in this package), a local folder, a `.gguf` file, or a Hugging Face hub id.
            batch: Number of texts in a cache.
            max_length: Maximum number of tokens of a text. None means the model's own limit, which is also the maximum.
            revision: Branch, tag or commit of a hub id.
            cache_dir: Folder of the hub cache. None means the hub library's default.
            local_files_only: Never use the network; a hub id must be in the cache.
            masters: The weights are master weights, although config.json does not say so.
            progress: Called with (done, total) bytes while weights are read and checked.

        Raises:
            CheckpointError: The model is not found, damaged, or of a kind this package does not know.
            ConfigError: A setting, or a field of config.json, cannot be used.
        """
        path = resolve(model, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        checkpoint = Checkpoint.open(path, masters=masters)
        module = cls(checkpoint.config, batch=batch, max_length=max_length)
        module.load_state_dict(as_tensors(checkpoint.config, checkpoint.load_weights(progress)), assign=True)
        module.eval()
        module.requires_grad_(False)
        return module

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        keys: Cache | None = None,
        values: Cache | None = None,
    ) -> Output:
        """Call `prefill`, or with a cache `step`."""
        if positions is None or keys is None or values is None:
            return self.prefill(ids)
        return self.step(ids, positions, keys, values)

    def prefill(self, ids: Tensor, mask: Tensor | None = None) -> Output:
        """Compute texts from their beginning.

        Args:
            ids: int32 or int64 [batch, tokens]. Shorter texts are padded at their end, with any token: no earlier
                token sees it, and `step` overwrites its slot.
            mask: bool [batch, 1, tokens, tokens], true where a token must not see another one, in addition to those
                after it; None to hide no more.

        Returns:
            The logits of every token, float32 [batch, tokens, vocab], and the cache: keys and values of each layer.
        """
        tokens = ids.shape[1]
        positions = self.slots[:tokens]
        hidden = positions > positions[:, None]
        placement = Placement(
            cos=self.cos[:tokens],
            sin=self.sin[:tokens],
            mask=(hidden[None, None] if mask is None else hidden | mask).float() * _HIDDEN,
        )
        nothing = [None] * len(self.layers)
        logits, keys, values = self._decode(ids, placement, nothing, nothing)
        free = (0, 0, 0, self.max_length - tokens)
        return logits, tuple(functional.pad(k, free) for k in keys), tuple(functional.pad(v, free) for v in values)

    def step(self, ids: Tensor, positions: Tensor, keys: Cache, values: Cache) -> Output:
        """Compute the tokens that follow those in a cache: one of each text, or the next part of a long prompt.

        Args:
            ids: int32 or int64 [batch, tokens].
            positions: int32 [batch, tokens], the position of each token in its text: below `max_length`, and the
                tokens of a text one after the other.
            keys: For each layer float32 [batch, kv_heads, max_length, head_dim].
            values: The same.

        Returns:
            The logits of every token, float32 [batch, tokens, vocab], and the cache with the tokens in it.
        """
        at = positions.float()
        hidden = self.slots > at[:, :, None]
        placement = Placement(
            cos=functional.embedding(positions, self.cos)[:, None],
            sin=functional.embedding(positions, self.sin)[:, None],
            mask=hidden.float()[:, None] * _HIDDEN,
            slots=(self.slots[:, None] == at[:, None])[:, None],
        )
        return self._decode(ids, placement, keys, values)

    def _decode(
        self, ids: Tensor, placement: Placement, keys: Sequence[Tensor | None], values: Sequence[Tensor | None]
    ) -> Output:
        h = self.embed_tokens(ids).to(self.norm.weight.dtype)
        new_keys, new_values = [], []
        for layer, k, v in zip(self.layers, keys, values, strict=True):
            h, k, v = layer(h, placement, k, v)
            new_keys.append(k)
            new_values.append(v)
        head = self.embed_tokens if self.lm_head is None else self.lm_head
        logits = functional.linear(self.norm(h), head.weight.to(h.dtype))
        return logits, tuple(new_keys), tuple(new_values)

    def empty_cache(self, device: str | None = None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the keys and the values of texts without tokens; on the device of the model if none is given."""
        shape = (self.batch, self.config.num_key_value_heads, self.max_length, self.config.head_dim)
        where = device or self.slots.device
        keys, values = (tuple(torch.zeros(shape, device=where) for _ in self.layers) for _ in range(2))
        return keys, values


class LMHead(nn.Module):
    """The head of a model whose head is not its embedding: `weight` is [vocab, hidden]."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
