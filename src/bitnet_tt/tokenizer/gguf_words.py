"""How GGUF files name the ways to split text into words, and which name fits a byte-level tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitnet_tt.tokenizer import bpe

if TYPE_CHECKING:
    import tokenizers

WORD_PATTERNS = {
    "llama-bpe": (bpe.LLAMA3_PATTERN,),
    "gpt-2": (bpe.GPT2_PATTERN,),
    "qwen2": (bpe.LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}"),),
    "falcon": (bpe.PUNCTUATION_PATTERN, bpe.GPT2_PATTERN, "[0-9][0-9][0-9]"),
    "falcon_e": (bpe.PUNCTUATION_PATTERN, bpe.GPT2_PATTERN, "[0-9]"),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", bpe.GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]"),
}
"""Regular expressions that split text into words, by their `tokenizer.ggml.pre` (llama.cpp, llama-vocab.cpp).

`falcon_e` is a name of bitnet.cpp. It is `falcon`, except that each digit is a word.
"""

ALIASES = dict.fromkeys(("llama3", "llama-v3", "falcon3", "falcon-h1"), "llama-bpe") | {"falcon-e": "falcon_e"}
"""Other names in `tokenizer.ggml.pre`."""

WHOLE_WORD_NAMES = ("llama-bpe",)
"""The names of tokenizers that take a word without merging if it is a token."""

_STEPS = {
    '{"behavior": "Contiguous", "type": "Punctuation"}': (bpe.PUNCTUATION_PATTERN,),
    '{"individual_digits": true, "type": "Digits"}': (r"\p{N}",),
    '{"individual_digits": false, "type": "Digits"}': (r"\p{N}+",),
    '{"add_prefix_space": false, "type": "ByteLevel", "use_regex": true}': (bpe.GPT2_PATTERN,),
    '{"add_prefix_space": false, "type": "ByteLevel", "use_regex": false}': (),
}
"""The patterns that steps of the `tokenizers` library stand for. A step is its JSON, without settings of offsets."""

_ASCII_ONLY = ("[0-9]", "[0-9][0-9][0-9]")
_OF_BYTES = "of bytes: "


def pre_tokenizer_name(engine: tokenizers.Tokenizer, model: Mapping[str, Any]) -> tuple[str, bool]:
    """Return GGUF's name for the way a byte-level tokenizer splits text, or for the nearest way.

    Args:
        engine: The tokenizer.
        model: Its BPE model, as `tokenizers` writes it.

    Returns:
        The name, and whether its patterns, with the tokens and merges, give every text the same ids.
    """
    patterns = _patterns(engine)
    for name, known in WORD_PATTERNS.items():
        if patterns == known:
            return name, _is_plain(engine, model) and bool(model["ignore_merges"]) == (name in WHOLE_WORD_NAMES)
    near = next((name for name, known in WORD_PATTERNS.items() if _ascii_digits(patterns) == known), "default")
    return near, False


def _patterns(engine: tokenizers.Tokenizer) -> tuple[str, ...]:
    """Return the patterns of the steps that split words. A step that is not one of patterns becomes its JSON.

    Steps after `ByteLevel` see bytes as characters: the byte of "ò" that looks like "²" is a digit to them. Their
    patterns get a prefix, unless they match nothing but ASCII.
    """
    steps = json.loads(engine.pre_tokenizer.__getstate__()) if engine.pre_tokenizer is not None else {}
    patterns: list[str] = []
    prefix = ""
    for step in steps.get("pretokenizers", [steps]):
        regex = step.get("pattern", {}).get("Regex") if step.get("type") == "Split" else None
        if regex is not None and (step.get("behavior"), step.get("invert")) == ("Isolated", False):
            found: tuple[str, ...] = (regex,)
        else:
            text = json.dumps({key: value for key, value in step.items() if key != "trim_offsets"}, sort_keys=True)
            found = _STEPS.get(text, (text,))
        patterns += [pattern if pattern in _ASCII_ONLY else prefix + pattern for pattern in found]
        prefix = _OF_BYTES if step.get("type") == "ByteLevel" else prefix
    return tuple(patterns)


def _ascii_digits(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return patterns that split single digits, with ASCII's digits only and without later splits of numbers."""
    ascii_patterns = ["[0-9]" if pattern.removeprefix(_OF_BYTES) == r"\p{N}" else pattern for pattern in patterns]
    if "[0-9]" in ascii_patterns:
        later = ("[0-9][0-9][0-9]", r"\p{N}+", _OF_BYTES + r"\p{N}+")
        ascii_patterns = [pattern for pattern in ascii_patterns if pattern not in later]
    return tuple(ascii_patterns)


def _is_plain(engine: tokenizers.Tokenizer, model: Mapping[str, Any]) -> bool:
    """Return whether a tokenizer does nothing that the metadata of a GGUF file cannot express."""
    added = engine.get_added_tokens_decoder().values()
    return not (
        engine.normalizer is not None
        or any(model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"))
        or any(token.lstrip or token.rstrip or token.single_word for token in added)
    )
