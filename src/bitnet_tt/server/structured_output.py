"""Structured output: which tokens may come next, so that a text fits a JSON schema, a regular expression or a grammar.

llguidance computes the masks. It reads text as the bytes of tokens, so it works with every vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.errors import RequestError

if TYPE_CHECKING:
    import llguidance

    from bitnet_tt.tokenizer import Tokenizer

_SPECIAL = b"\xff"
"""llguidance's first byte of control tokens: no text contains it, so no grammar of text allows them."""

JSON_STYLE: Mapping[str, Any] = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""llguidance's options for JSON: one way to write a value. Small models otherwise write spaces without end."""

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
"""The JSON schema of any object."""

_GBNF_RULE = re.compile(r"^\s*[\w-]+\s*::=", re.MULTILINE)

_MAX_SOURCE = 1 << 20
"""The most characters of a grammar."""

_MAX_SYMBOLS = 20_000
"""The most symbols of a compiled grammar: about 4000 properties. Compiling takes seconds then.

llguidance itself limits what the mask of a token may cost.
"""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """A format that a text must have.

    Attributes:
        kind: What the source is.
        source: A JSON schema, a regular expression, a grammar, or the list of all texts.
        param: The field of the request that it comes from, for errors.
    """

    kind: Literal["json_schema", "regex", "lark", "choice"]
    source: Any
    param: str


class GrammarCompiler:
    """Compiles grammars for one vocabulary. Any thread may call it.

    Args:
        tokenizer: The tokenizer of the model.
        vocab_size: The number of rows of the model's lm_head.
        eos_token_ids: The ids that end a text. They are allowed where the grammar may end.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_token_ids: frozenset[int]) -> None:
        from llguidance import LLTokenizer
        from llguidance._tokenizer import TokenizerWrapper

        self._vocab_size = vocab_size
        ids = sorted(eos_token_ids)
        self._tokens = LLTokenizer(
            TokenizerWrapper(_Vocabulary(tokenizer, vocab_size, ids)), n_vocab=vocab_size, eos_token=ids
        )

    def from_format(self, form: AnswerFormat) -> Grammar:
        """Compile a format.

        Raises:
            RequestError: It is not valid, or cannot be enforced.
        """
        if form.kind == "json_schema":
            return self.from_json_schema(form.source)
        if form.kind == "regex":
            return self.from_regex(form.source)
        return self.from_choice(form.source) if form.kind == "choice" else self.from_lark(form.source)

    def from_json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """Compile a JSON schema. JSON is written on one line, with a space after each comma and colon.

        Raises:
            RequestError: The schema is not valid, or has a keyword that cannot be enforced.
        """
        from llguidance import LLMatcher

        try:
            source = LLMatcher.grammar_from_json_schema(json.dumps({**schema, "x-guidance": dict(JSON_STYLE)}))
        except (ValueError, TypeError, RecursionError) as error:
            raise RequestError(f"the JSON schema is not valid: {error}") from error
        return self._compile(source, "JSON schema")

    def from_regex(self, pattern: str) -> Grammar:
        """Compile a regular expression, in the syntax of Rust's crate `regex`. The whole text matches it.

        Raises:
            RequestError: The expression is not valid, or too complex.
        """
        from llguidance import LLMatcher

        return self._compile(LLMatcher.grammar_from_regex(_utf8(pattern)), "regular expression")

    def from_choice(self, texts: Sequence[str]) -> Grammar:
        """Return the grammar of some texts: one of them is the whole text.

        Raises:
            RequestError: They are too long, or not valid Unicode.
        """
        return self.from_regex("|".join(map(re.escape, texts)))

    def from_lark(self, source: str) -> Grammar:
        """Compile a context-free grammar in Lark's syntax. Its first rule is `start`.

        Raises:
            RequestError: The grammar is not valid, or too complex.
        """
        from llguidance import LLMatcher

        if _GBNF_RULE.search(source):
            raise RequestError('the grammar is written in GBNF; write it in Lark\'s syntax, such as `start: "a" | "b"`')
        return self._compile(LLMatcher.grammar_from_lark(_utf8(source)), "grammar")

    def from_source(self, source: str) -> Grammar:
        """Compile `Grammar.source`.

        Raises:
            RequestError: The grammar is not valid, or too complex.
        """
        return self._compile(source, "grammar")

    def _compile(self, source: str, kind: str) -> Grammar:
        from llguidance import LLMatcher, LLParserLimits

        if len(source) > _MAX_SOURCE:
            raise RequestError(f"the {kind} has {len(source)} characters; this server takes {_MAX_SOURCE}")
        limits = LLParserLimits(max_grammar_size=_MAX_SYMBOLS)
        matcher = LLMatcher(self._tokens, source, log_level=0, limits=limits)
        if matcher.is_error():
            raise RequestError(f"the {kind} cannot be enforced: {matcher.get_error()}")
        # The first mask is slow for some grammars. Computed here, it delays no other request, and all copies have it.
        GrammarConstraint(matcher, self._vocab_size).mask()
        return Grammar(matcher, self._vocab_size, source)


def _utf8(text: str) -> str:
    """Return a text, or refuse one that is not valid Unicode.

    Raises:
        RequestError: It has half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"the text is not valid Unicode: {error}") from error
    return text


class Grammar:
    """A grammar that was compiled and checked. Each text needs a constraint of its own.

    Attributes:
        source: The grammar in llguidance's own form, for `GrammarCompiler.from_source` in another process.
    """

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int, source: str) -> None:
        """Keep what `GrammarCompiler` made: a matcher at the beginning of a text."""
        self._matcher = matcher
        self._vocab_size = vocab_size
        self.source = source

    def constraint(self) -> GrammarConstraint:
        """Return the constraint of a new text. It takes well under a millisecond, as nothing is compiled again."""
        return GrammarConstraint(self._matcher.deep_copy(), self._vocab_size)


class GrammarConstraint:
    """The state of a grammar within one text. Not thread-safe."""

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int) -> None:
        """Begin a text."""
        self._matcher = matcher
        self._words = -(-vocab_size // 32)
        self._unused = np.uint32(0xFFFFFFFF) >> np.uint32(-vocab_size % 32)

    def mask(self) -> NDArray[np.uint32]:
        """Return which tokens may come next: uint32 [ceil(vocab / 32)], token i in bit i % 32 of word i // 32.

        Raises:
            RequestError: The grammar has become too complex for llguidance's limits.
        """
        mask = np.zeros(self._words, np.uint32)
        self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        self._check()
        mask[-1] &= self._unused
        return mask

    def forced(self) -> int | None:
        """Return the next token if the grammar forces the bytes of the text: then `mask` has only this token."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        self._check()
        return tokens[0] if tokens else None

    def accept(self, token_id: int) -> None:
        """Add a token to the text.

        Raises:
            RequestError: The grammar does not allow the token.
        """
        self._matcher.consume_token(token_id)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise RequestError(f"the grammar cannot be enforced any further: {self._matcher.get_error()}")


class _Vocabulary:
    """The tokens as llguidance wants them."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_token_ids: list[int]) -> None:
        self.eos_token_id = eos_token_ids[0]
        self.bos_token_id = tokenizer.bos_token_id
        special = tokenizer.special_ids | set(eos_token_ids)
        self.special_token_ids = sorted(token_id for token_id in special if token_id < vocab_size)
        self.tokens = [
            _SPECIAL + str(tokenizer.id_to_token(token_id)).encode()
            if token_id in special
            else tokenizer.token_bytes(token_id)
            for token_id in range(vocab_size)
        ]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes | str) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode()
        return self._tokenizer.encode(text, add_bos=False, parse_special=False)
