"""The class `LlamaTokenizer` of Hugging Face transformers 5, which has its own rules for spaces.

It takes only the vocabulary, the merges and the post-processor of a tokenizer.json. Where the file's own rules differ,
for example after a special token, models that declare this class were trained and are run with the rules of the class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitnet_tt.tokenizer.bpe import SPACE

if TYPE_CHECKING:
    import tokenizers

SPECIAL_TOKENS: dict[str, Any] = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
"""The special tokens of the class, if tokenizer_config.json does not name others."""


def is_declared(engine: tokenizers.Tokenizer, config: Mapping[str, Any]) -> bool:
    """Whether tokenizer_config.json declares the class. A byte-level file keeps its own rules then, as in transformers.

    Args:
        engine: The engine of tokenizer.json.
        config: The content of tokenizer_config.json.
    """
    if config.get("tokenizer_class") not in ("LlamaTokenizer", "LlamaTokenizerFast"):
        return False
    parts = (engine.normalizer, engine.pre_tokenizer, engine.post_processor, engine.decoder)
    return not any(b'"ByteLevel"' in part.__getstate__() for part in parts if part is not None)


def rebuild(engine: tokenizers.Tokenizer, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Return an engine with the vocabulary of another one and the rules of `LlamaTokenizer`, without added tokens.

    Args:
        engine: The engine of tokenizer.json.
        config: The content of tokenizer_config.json: `add_prefix_space` and `legacy` change the rule for spaces.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    model = json.loads(engine.model.__getstate__())
    merges = [(left, right) for left, right in model["merges"]]
    rebuilt = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, fuse_unk=True, byte_fallback=True))
    space_prefix = config.get("add_prefix_space") is not False
    scheme = "never" if not space_prefix else "always" if config.get("legacy") else "first"
    rebuilt.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=False)
    strip = [decoders.Strip(" ", 1, 0)] if space_prefix else []
    spaces = decoders.Replace(SPACE, " ")
    rebuilt.decoder = decoders.Sequence([spaces, decoders.ByteFallback(), decoders.Fuse(), *strip])
    if engine.post_processor is not None:
        rebuilt.post_processor = engine.post_processor
    return rebuilt
