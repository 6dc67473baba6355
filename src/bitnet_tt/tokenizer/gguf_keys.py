"""The `tokenizer.*` keys of GGUF files: each is used, changes nothing, or is refused by name.

The meanings are those of llama.cpp (llama-vocab.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitnet_tt.errors import TokenizerError

TEMPLATE_KEY = "tokenizer.chat_template"
"""The key of the default template. Other templates have the key `tokenizer.chat_template.NAME`."""

TOKENIZER_JSON_KEY = "tokenizer.huggingface.json"
"""The key of a whole tokenizer.json. If a file has it, it is used instead of the tokens and merges."""

END_KEYS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
"""The ids that end a text: end of sequence, end of turn, end of message."""

CODE_END_KEYS = (
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
)
"""Ids of code models (padding, and the start of another repository or file) that end a text too."""

_PREFIX = "tokenizer."

_USED = (
    *END_KEYS,
    *CODE_END_KEYS,
    TEMPLATE_KEY,
    TOKENIZER_JSON_KEY,
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.tokens",
)

_HARMLESS = (
    "tokenizer.chat_templates",  # the names of the templates, which their keys give too
    "tokenizer.ggml.added_tokens",  # tokens that `tokens` holds too
    "tokenizer.ggml.cls_token_id",  # for classifiers
    "tokenizer.ggml.fim_mid_token_id",  # a code editor writes it into its prompt; so with the other ids of this kind
    "tokenizer.ggml.fim_pre_token_id",
    "tokenizer.ggml.fim_suf_token_id",
    "tokenizer.ggml.mask_token_id",  # for models that fill gaps
    "tokenizer.ggml.middle_token_id",  # old names of the three fim ids
    "tokenizer.ggml.padding_token_id",  # fills up batches; our batches need no padding
    "tokenizer.ggml.prefix_token_id",
    "tokenizer.ggml.seperator_token_id",  # written only if add_sep_token is true
    "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.token_type_count",  # for BERT's segments
    "tokenizer.ggml.unknown_token_id",  # its token_type says the same
    "tokenizer.rwkv.world",  # the vocabulary of another kind of tokenizer
)
"""Keys that change no id and no text, whatever their value."""

_NEUTRAL: Mapping[str, Any] = {
    "tokenizer.ggml.add_sep_token": False,
    "tokenizer.ggml.normalizer.lowercase": False,
    "tokenizer.ggml.normalizer.strip_accents": False,
    "tokenizer.ggml.precompiled_charsmap": [],
    "tokenizer.ggml.remove_extra_whitespaces": False,
    "tokenizer.ggml.suppress_tokens": [],
}
"""Keys that change ids or the text, and the value with which they do not."""

_INSTEAD = "Use the model's Hugging Face folder instead"


def check_keys(metadata: Mapping[str, Any]) -> None:
    """Refuse settings of a tokenizer that would change ids or the text and are not supported.

    Raises:
        TokenizerError: There is such a setting; the message names its key.
    """
    for key, value in metadata.items():
        if not key.startswith(_PREFIX) or key in _USED or key in _HARMLESS or key.startswith(TEMPLATE_KEY + "."):
            continue
        if key not in _NEUTRAL:
            raise TokenizerError(f"{key} is not supported. {_INSTEAD}")
        if value != _NEUTRAL[key]:
            shown = repr(value) if len(repr(value)) < 80 else repr(value)[:80] + "..."
            raise TokenizerError(f"{key} is {shown}, which is not supported; only {_NEUTRAL[key]!r} is. {_INSTEAD}")
