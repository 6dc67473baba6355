"""Tokenizer: text to ids, ids to text, and chats to ids, with one engine of the `tokenizers` library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import bpe, chat_template, load, user_text
from bitnet_tt.tokenizer.chat_template import Message
from bitnet_tt.tokenizer.token_bytes import TokenBytes
from bitnet_tt.tokenizer.user_text import ChatEncoder

if TYPE_CHECKING:
    import tokenizers

_END_TOKENS = ("<|eot_id|>", "<|end_of_text|>", "<|im_end|>")
"""Tokens that end a text or a turn in every vocabulary that has them as control tokens."""


class Tokenizer:
    """A vocabulary with its rules for special tokens and chats. `from_path` reads one from files.

    Attributes:
        engine: The `tokenizers` object that splits and merges. Its post-processor says which tokens are put around a
            text.
        bos_token: The token that begins a text, or None.
        eos_tokens: The tokens that end a text, the vocabulary's own first.
        other_tokens: Special tokens of other uses by name, such as `pad_token`, for chat templates.
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
        chat_templates: Mapping[str, str],
        other_tokens: Mapping[str, str] | None = None,
    ) -> None:
        """Wrap an engine. The arguments are the attributes of the same names.

        Raises:
            TokenizerError: The engine's decoder is not supported, or a special token is not in its vocabulary.
        """
        added = engine.get_added_tokens_decoder()
        self.engine = engine
        self.bos_token = bos_token
        self.other_tokens = dict(other_tokens or {})
        self.chat_templates = dict(chat_templates)
        self.special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self.token_bytes = TokenBytes(engine)
        self._before, self._after = bpe.tokens_around(engine)
        self._encoders: dict[str, ChatEncoder] = {}
        ends = [token for token in _END_TOKENS if self.token_to_id(token) in self.special_ids]
        self.eos_tokens = tuple(dict.fromkeys([*eos_tokens, *ends]))
        for token in (bos_token, *self.eos_tokens):
            if token is not None and self.token_to_id(token) is None:
                raise TokenizerError(
                    f"the special token {token!r} is not in the tokenizer's vocabulary; download its files again"
                )

    @classmethod
    def from_path(cls, path: str | Path) -> Self:
        """Load the tokenizer of a checkpoint.

        Args:
            path: A Hugging Face folder or a GGUF file.

        Raises:
            CheckpointError: The GGUF file is damaged.
            TokenizerError: The checkpoint has no tokenizer, or this package cannot use it. The message names the file,
                or the files that were looked for.
        """
        parts = load.read_tokenizer(Path(path))
        try:
            return cls(**parts)
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from error

    @property
    def add_bos(self) -> bool:
        """Whether `encode` puts `bos_token` before a text."""
        return self.bos_token is not None and self._before[:1] == [self.bos_token_id]

    @property
    def add_eos(self) -> bool:
        """Whether `encode` puts the first of `eos_tokens` after a text."""
        return len(self._after) > 0 and self._after[-1:] == list(self.eos_token_ids[:1])

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
            add_bos: True puts the beginning-of-text token first, unless the text begins with it. False puts no token
                around the text. None puts those around it that the checkpoint says, usually the first or none.
            parse_special: Read `<|eot_id|>` and the like as control tokens, as Hugging Face does. False reads them as
                ordinary characters, for text from people you do not trust.

        Raises:
            RequestError: The text is not valid Unicode.
        """
        if parse_special:
            ids = bpe.encode(self.engine, text)
        else:
            ids = self._encoder(user_text.free_marker([text])).encode_plain(text)
        if add_bos is False:
            return ids
        return [*self._with_bos(ids, always=add_bos is True), *self._after]

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
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        continue_last: bool = False,
        template: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Render messages to one text with the checkpoint's template, for people to read.

        Use `apply_chat_template` for the model. It is safe against control tokens in messages; this text is not.

        Args:
            messages: The chat, first to last. Each message has a `role` and a `content`; other fields are for the
                template.
            add_generation_prompt: End with the text that begins the assistant's turn.
            continue_last: End with the last message's content, so that the model continues it. What the template writes
                after it is left out.
            template: Name of the template. None means the usual one, or `tool_use` if there is one and `tools` are
                given.
            variables: More variables of the template, such as `tools` and `documents`.

        Raises:
            RequestError: There is no message, one has no role or no content, or a value is not of a type of JSON.
            TokenizerError: There is no such template, or it refuses the messages.
        """
        chat_template.check_messages(messages)
        end = user_text.free_marker(user_text.strings(messages)) if continue_last else None
        return self._render(messages, template, dict(variables or {}), add_generation_prompt, end)

    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        continue_last: bool = False,
        template: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Convert messages to ids with the checkpoint's template.

        The ids are those of the rendered text. If `add_bos` is true, the beginning-of-text token comes first, also when
        the template does not write it. A control token that a message or a variable spells out, in any field, is
        encoded as ordinary characters, so that a user cannot end a turn or speak in another role. All other tokens stay
        as they would be without it.

        Arguments and errors are those of `render_chat`.
        """
        chat_template.check_messages(messages)
        marker = user_text.free_marker([*user_text.strings(messages), *user_text.strings(variables, "variables")])
        encoder = self._encoder(marker)
        marked, variables = encoder.mark([messages, dict(variables or {})])
        # Marked texts have no two markers in a row.
        end = marker * 2 if continue_last else None
        rendered = self._render(marked, template, variables, add_generation_prompt, end)
        return self._with_bos(encoder.encode(rendered), always=False)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which Hugging Face tools and `from_path` read."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.engine.save(str(folder / "tokenizer.json"))
        config: dict[str, object] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **self.other_tokens,
            "bos_token": self.bos_token,
            "eos_token": next(iter(self.eos_tokens), None),
            "add_bos_token": self.add_bos,
            "split_special_tokens": self.engine.encode_special_tokens,
            "clean_up_tokenization_spaces": False,
        }
        if self.chat_templates.keys() == {"default"}:
            config["chat_template"] = self.chat_templates["default"]
        elif self.chat_templates:
            config["chat_template"] = [{"name": k, "template": v} for k, v in self.chat_templates.items()]
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
        (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")

    def _encoder(self, marker: str) -> ChatEncoder:
        """Return the encoder of text that users wrote, for a marker that the text does not contain."""
        if marker not in self._encoders:
            self._encoders[marker] = ChatEncoder(self.engine, self.special_ids, marker)
        return self._encoders[marker]

    def _render(
        self,
        messages: Sequence[Message],
        template: str | None,
        variables: Mapping[str, Any],
        add_generation_prompt: bool,
        end: str | None,
    ) -> str:
        """Render a chat. With `end`, which no text contains, the result stops where the last message's content ends."""
        if end is not None:
            messages = [*messages[:-1], {**messages[-1], "content": (messages[-1].get("content") or "") + end}]
        tokens = {"bos_token": self.bos_token, "eos_token": next(iter(self.eos_tokens), None), **self.other_tokens}
        tokens = {name: token for name, token in tokens.items() if token is not None}
        context = {**tokens, **variables, "add_generation_prompt": add_generation_prompt}
        source = self._template(template, has_tools=variables.get("tools") is not None)
        rendered = chat_template.render(source, messages, context)
        if end is None:
            return rendered
        before, found, _ = rendered.rpartition(end)
        if not found:
            raise TokenizerError("the chat template does not show the last message, so it cannot be continued")
        return before

    def _with_bos(self, ids: list[int], *, always: bool) -> list[int]:
        """Put the tokens first that come before a text, unless they are there; `always` if the checkpoint has none."""
        bos = self.bos_token_id
        before = self._before or ([bos] if always and bos is not None else [])
        return ids if ids[: len(before)] == before else [*before, *ids]

    def _template(self, name: str | None, *, has_tools: bool) -> str:
        """Return a template by name. Without a name, it is the one for tools if there are any, else the usual one."""
        if name is None:
            name = "tool_use" if has_tools and "tool_use" in self.chat_templates else "default"
        template = self.chat_templates.get(name)
        if template is not None:
            return template
        if not self.chat_templates:
            raise TokenizerError(
                "this model has no chat template; it only continues text: use generate, or add a chat template to its "
                "files"
            )
        raise TokenizerError(f"there is no chat template {name!r}; there are: {', '.join(self.chat_templates)}")
