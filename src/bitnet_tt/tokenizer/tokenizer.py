"""Tokenizer: text to ids, ids to text, and chats to ids, with one engine of the `tokenizers` library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bitnet_tt.errors import RequestError, TokenizerError
from bitnet_tt.tokenizer import chat_template
from bitnet_tt.tokenizer.chat_template import Message
from bitnet_tt.tokenizer.token_bytes import TokenBytes

if TYPE_CHECKING:
    import tokenizers

_END_TOKENS = ("<|eot_id|>", "<|end_of_text|>", "<|im_end|>")
"""Tokens that end a text or a turn in every vocabulary that has them as control tokens."""


class Tokenizer:
    """A vocabulary with its rules for special tokens and chats. `load_tokenizer` reads one from files.

    Attributes:
        engine: The `tokenizers` object that splits and merges.
        bos_token: The token that begins a text, or None.
        eos_tokens: The tokens that end a text, the vocabulary's own first.
        add_bos: Whether `encode` puts `bos_token` before a text.
        chat_templates: jinja2 sources by name. The usual template has the name `default`.
        special_ids: Ids of control tokens, which are not part of a text.
        token_bytes: Returns the bytes that an id stands for.
    """

    def __init__(
        self,
        engine: tokenizers.Tokenizer,
        *,
        bos_token: str | None,
        eos_tokens: Iterable[str],
        add_bos: bool,
        chat_templates: Mapping[str, str],
    ) -> None:
        """Wrap an engine. The arguments are the attributes of the same names.

        Raises:
            TokenizerError: The engine's decoder is not supported, or a special token is not in its vocabulary.
        """
        added = engine.get_added_tokens_decoder()
        self.engine = engine
        self.bos_token = bos_token
        self.add_bos = add_bos and bos_token is not None
        self.chat_templates = dict(chat_templates)
        self.special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self.token_bytes = TokenBytes(engine)
        ends = [token for token in _END_TOKENS if self.token_to_id(token) in self.special_ids]
        self.eos_tokens = tuple(dict.fromkeys([*eos_tokens, *ends]))
        for token in (bos_token, *self.eos_tokens):
            if token is not None and self.token_to_id(token) is None:
                raise TokenizerError(
                    f"the special token {token!r} is not in the tokenizer's vocabulary; download its files again"
                )

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special tokens included. The model's embedding may have more rows."""
        return int(self.engine.get_vocab_size())

    @property
    def bos_token_id(self) -> int | None:
        """Id of the token that begins a text, or None."""
        return None if self.bos_token is None else self.token_to_id(self.bos_token)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Ids of the tokens that end a text or a turn."""
        ids = map(self.token_to_id, self.eos_tokens)
        return tuple(token_id for token_id in ids if token_id is not None)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token as the vocabulary writes it, or None if the vocabulary does not have it."""
        return self.engine.token_to_id(token)

    def id_to_token(self, token_id: int) -> str | None:
        """Return a token as the vocabulary writes it, or None if the vocabulary does not have the id."""
        return self.engine.id_to_token(token_id) if token_id >= 0 else None

    def encode(self, text: str, *, add_bos: bool | None = None, parse_special: bool = True) -> list[int]:
        """Convert text to ids.

        Args:
            text: Any text.
            add_bos: Put the beginning-of-text token first, unless the text begins with it. None means as the checkpoint
                says.
            parse_special: Read `<|eot_id|>` and the like as control tokens, as Hugging Face does. False reads them as
                ordinary characters, for text from people you do not trust.

        Raises:
            RequestError: The text is not valid Unicode.
        """
        ids = self._encode(text, self.engine if parse_special else self._plain_engine)
        return self._with_bos(ids, self.add_bos if add_bos is None else add_bos)

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = True, continues: bool = False) -> str:
        """Convert ids to text. Bytes that are not valid UTF-8 become U+FFFD.

        Args:
            ids: Token ids. Ids that the vocabulary does not have give no text.
            skip_special_tokens: Leave out control tokens.
            continues: The text continues an earlier one, so the space that sentencepiece puts before a first word is
                part of it.
        """
        skipped = self.special_ids if skip_special_tokens else frozenset()
        data = b"".join(self.token_bytes(token_id) for token_id in ids if token_id not in skipped)
        text = data.decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self.token_bytes.strip_space and not continues else text

    def render_chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, template: str | None = None
    ) -> str:
        """Render messages to one text with the checkpoint's template, for people to read.

        Use `apply_chat_template` for the model. It is safe against control tokens in messages; this text is not.

        Args:
            messages: The chat, first to last. Each message has a `role` and a `content`.
            add_generation_prompt: End with the text that begins the assistant's turn.
            template: Name of the template. None means the usual one.

        Raises:
            RequestError: There is no message, or one has no role or no content.
            TokenizerError: There is no such template, or it refuses the messages.
        """
        chat_template.check_messages(messages)
        return chat_template.render(
            self._template(template),
            messages,
            add_generation_prompt=add_generation_prompt,
            bos_token=self.bos_token or "",
            eos_token=next(iter(self.eos_tokens), ""),
            tools=None,
            documents=None,
        )

    def apply_chat_template(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, template: str | None = None
    ) -> list[int]:
        """Convert messages to ids with the checkpoint's template.

        The ids are those of the rendered text. If `add_bos` is set, the beginning-of-text token comes first, also when
        the template does not write it. A control token that a message spells out is encoded as ordinary characters, so
        that a user cannot end a turn or speak in another role.

        Args:
            messages: The chat, first to last. Each message has a `role` and a `content`.
            add_generation_prompt: End with the text that begins the assistant's turn.
            template: Name of the template. None means the usual one.

        Raises:
            RequestError: There is no message, or one has no role or no content.
            TokenizerError: There is no such template, or it refuses the messages.
        """
        chat_template.check_messages(messages)
        broken, marker = chat_template.break_special_tokens(messages, self._special_tokens)
        text = self.render_chat(broken, add_generation_prompt=add_generation_prompt, template=template)
        if marker not in text:  # no user wrote a control token
            return self._with_bos(self._encode(text, self.engine), self.add_bos)
        # Split at the control tokens that are intact: the template wrote these. The group keeps them as parts.
        ids: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, self._special_tokens))})", text):
            engine = self._plain_engine if marker in part else self.engine
            ids += self._encode(part.replace(marker, ""), engine)
        return self._with_bos(ids, self.add_bos)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which Hugging Face tools and `load_tokenizer` read."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.engine.save(str(folder / "tokenizer.json"))
        config: dict[str, object] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": self.add_bos,
            "bos_token": self.bos_token,
            "eos_token": next(iter(self.eos_tokens), None),
            "clean_up_tokenization_spaces": False,
        }
        if self.chat_templates.keys() == {"default"}:
            config["chat_template"] = self.chat_templates["default"]
        elif self.chat_templates:
            config["chat_template"] = [{"name": k, "template": v} for k, v in self.chat_templates.items()]
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
        (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")

    @cached_property
    def _plain_engine(self) -> tokenizers.Tokenizer:
        """The same engine without special tokens: it reads them as ordinary text. It shares the vocabulary."""
        from tokenizers import Tokenizer as Engine

        plain = Engine(self.engine.model)
        if self.engine.normalizer is not None:
            plain.normalizer = self.engine.normalizer
        if self.engine.pre_tokenizer is not None:
            plain.pre_tokenizer = self.engine.pre_tokenizer
        return plain

    @cached_property
    def _special_tokens(self) -> list[str]:
        """Control tokens as text, longest first, so that a regular expression of them finds the longest."""
        added = self.engine.get_added_tokens_decoder()
        return sorted((added[token_id].content for token_id in self.special_ids), key=len, reverse=True)

    def _encode(self, text: str, engine: tokenizers.Tokenizer) -> list[int]:
        try:
            return engine.encode(text, add_special_tokens=False).ids
        except TypeError as error:  # the library raises it for lone surrogates
            raise RequestError("the text is not valid Unicode") from error

    def _with_bos(self, ids: list[int], add_bos: bool) -> list[int]:
        bos = self.bos_token_id
        return [bos, *ids] if add_bos and bos is not None and ids[:1] != [bos] else ids

    def _template(self, name: str | None) -> str:
        template = self.chat_templates.get(name or "default")
        if template is not None:
            return template
        if not self.chat_templates:
            raise TokenizerError(
                "this model has no chat template; it only continues text: use generate, or add a chat template to its "
                "files"
            )
        raise TokenizerError(
            f"there is no chat template {name or 'default'!r}; there are: {', '.join(self.chat_templates)}"
        )
