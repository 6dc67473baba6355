"""The chat templates of a GGUF file, and the placeholder that one converter writes instead of the model's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer.gguf_keys import TEMPLATE_KEY

_PLACEHOLDER_DIGEST = "6feccacdd8c7094ee8de807281b2f2a077d538832a4c220c7a2375e32ae5c89d"
"""SHA-256 of the template that bitnet.cpp's convert-ms-to-gguf-bitnet.py writes into every file.

It begins user messages with "Human: " and answers with "BITNETAssistant: ". No model was trained so: with it, 2B4T does
not stop. microsoft/bitnet-b1.58-2B-4T-gguf has it.
"""

_END_OF_TURN = "<|eot_id|>"

_TEMPLATE_OF_2B4T = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] | trim }}" + _END_OF_TURN + "{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""The format that microsoft/bitnet-b1.58-2B-4T was trained with, as its own tokenizer_config.json renders it."""


def chat_templates(metadata: Mapping[str, Any], tokens: Collection[str]) -> dict[str, str]:
    """Return the templates by name; the usual one has the name `default`.

    Where a converter wrote its placeholder, the template is 2B4T's own if the vocabulary has its end-of-turn token.
    Other models with the placeholder, such as 1bitLLM's, are not made for chats, so they have no template.

    Raises:
        TokenizerError: A template is not a text.
    """
    templates = {}
    for key, template in metadata.items():
        if key != TEMPLATE_KEY and not key.startswith(TEMPLATE_KEY + "."):
            continue
        if not isinstance(template, str):
            raise TokenizerError(f"{key} must be a text, not {template!r:.80}; the file is damaged: download it again")
        if not _is_placeholder(template):
            templates[key.removeprefix(TEMPLATE_KEY).removeprefix(".") or "default"] = template
        elif _END_OF_TURN in tokens:
            templates[key.removeprefix(TEMPLATE_KEY).removeprefix(".") or "default"] = _TEMPLATE_OF_2B4T
    return templates


def template_note(metadata: Mapping[str, Any]) -> list[str]:
    """Return a note if a GGUF file has the placeholder for its chat template."""
    if not _is_placeholder(metadata.get(TEMPLATE_KEY)):
        return []
    tokens = metadata.get("tokenizer.ggml.tokens")
    known = isinstance(tokens, list) and _END_OF_TURN in tokens
    used = "the template of microsoft/bitnet-b1.58-2B-4T is used instead" if known else "it is not used"
    return [f"the file's chat template is a placeholder of its converter (Human: ... BITNETAssistant:); {used}"]


def _is_placeholder(template: object) -> bool:
    return isinstance(template, str) and sha256(template.encode()).hexdigest() == _PLACEHOLDER_DIGEST
