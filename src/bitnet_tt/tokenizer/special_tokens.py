"""Merge the special tokens that the files beside a vocabulary declare, by the rules of Hugging Face transformers 5.

tokenizer_config.json names tokens by their use (`bos_token`), lists more special ones (`extra_special_tokens`, earlier
`additional_special_tokens`) and may hold every added token (`added_tokens_decoder`). If it does not hold them, two
files of older checkpoints count too: special_tokens_map.json, which overrides names, and added_tokens.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError

if TYPE_CHECKING:
    import tokenizers

_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LIST, _OLDER_LIST = "extra_special_tokens", "additional_special_tokens"
"""The list of special tokens without a name. It may also be a mapping of names to tokens."""

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


@dataclass(frozen=True, slots=True)
class TokenFiles:
    """What a checkpoint's files say about its added and special tokens.

    Attributes:
        config: The content of tokenizer_config.json.
        special_tokens_map: The content of special_tokens_map.json.
        added_tokens: The content of added_tokens.json.
    """

    config: Mapping[str, Any]
    special_tokens_map: Mapping[str, Any] = field(default_factory=dict)
    added_tokens: Mapping[str, Any] = field(default_factory=dict)


def merge(
    engine: tokenizers.Tokenizer, files: TokenFiles, saved_tokens: Mapping[int, tokenizers.AddedToken] | None = None
) -> dict[str, str]:
    """Add the declared tokens to the engine, and mark those as special that the files use as such.

    A token that the vocabulary has keeps its id. Others get the next free ids, in the order of their declared ids.

    Args:
        engine: The engine; it is changed.
        files: The declarations.
        saved_tokens: The added tokens of tokenizer.json by id, if there is such a file.

    Returns:
        The special tokens by use, for example `{"bos_token": "<s>"}`.

    Raises:
        TokenizerError: An entry is damaged; the message names its key.
    """
    named, listed = _special_tokens(files)
    declared = read_added_tokens(files, {token.content for token in (*named.values(), *listed)})
    if "added_tokens_decoder" not in files.config:
        declared |= saved_tokens or {}
    by_content = {token.content: token for token in declared.values()}
    named = {name: by_content.get(token.content, token) for name, token in named.items()}

    known = list(engine.get_added_tokens_decoder().values())
    new = [token for _, token in sorted(declared.items(), key=lambda item: item[0]) if token not in known]
    contents = {token.content for token in (*known, *new)}
    new += [token for token in (*named.values(), *listed) if token.content not in contents]
    names = {token.content for token in named.values()}
    for token in new:
        token.special = token.special or token.content in names
    engine.add_tokens(new)
    if files.config.get("split_special_tokens") is not True:  # then special tokens are read as other text
        _mark_as_special(engine, names | {token.content for token in listed})
    return {name: token.content for name, token in named.items()}


def _mark_as_special(engine: tokenizers.Tokenizer, contents: set[str]) -> None:
    for token in engine.get_added_tokens_decoder().values():
        if token.content in contents and not token.special:
            flags = {flag: getattr(token, flag) for flag in _FLAGS}
            engine.add_special_tokens([_token(token.content, flags, special=True)])


def _special_tokens(files: TokenFiles) -> tuple[dict[str, tokenizers.AddedToken], list[tokenizers.AddedToken]]:
    """Return the special tokens that have a name, such as `bos_token`, and those that are only listed."""
    config, older_files = files.config, files.special_tokens_map
    if "added_tokens_decoder" in config:
        older_files = {}
    older = _named(older_files, special=True)
    named = older | _named(config, special=False) | {name: older[name] for name in _NAMES if name in older}
    order = [*_NAMES, *(name for name in named if name not in _NAMES)]
    return {name: token for name in order if (token := named.get(name)) is not None}, _listed(config, older_files)


def _named(settings: Mapping[str, Any], *, special: bool) -> dict[str, tokenizers.AddedToken | None]:
    """Return the tokens by use. A model may have uses of its own, such as `image_token`."""
    # Other settings also end in _token, such as the flag add_bos_token: only strings and objects are tokens.
    uses = {
        name: value
        for name, value in settings.items()
        if name in _NAMES or (name.endswith("_token") and isinstance(value, str | Mapping))
    }
    if isinstance(settings.get(_LIST), Mapping):
        uses |= settings[_LIST]
    return {name: None if value is None else _parse(value, name, special=special) for name, value in uses.items()}


def _listed(config: Mapping[str, Any], special_tokens_map: Mapping[str, Any]) -> list[tokenizers.AddedToken]:
    """Return the tokens of the list. special_tokens_map.json adds to it, and overrides the list of the older name."""
    newer, older = config.get(_LIST), config.get(_OLDER_LIST)
    if older is not None and not newer:
        newer, older = older, None
    older, more = special_tokens_map.get(_OLDER_LIST, older), special_tokens_map.get(_LIST)
    for values in (newer, older, more):
        if values is not None and not isinstance(values, list | Mapping):
            raise TokenizerError(f"{_LIST} must be a list of tokens, not {values!r}; download the files again")
    if isinstance(newer, Mapping) or isinstance(more, Mapping):
        newer = None
    if isinstance(more, list):
        newer = [*(newer or []), *more]
    values = older if newer is None else newer
    return [_parse(value, _LIST, special=True) for value in values or []]


def read_added_tokens(files: TokenFiles, special: Set[str] = frozenset()) -> dict[int, tokenizers.AddedToken]:
    """Return the added tokens that the files declare, by declared id.

    Args:
        files: The declarations.
        special: The tokens that are special. added_tokens.json does not say so itself.

    Raises:
        TokenizerError: An entry is damaged; the message names its key.
    """
    name = "added_tokens_decoder"
    entries = files.config.get(name)
    if name not in files.config:
        ids = files.added_tokens.values()
        if not all(isinstance(token_id, int) for token_id in ids):
            raise TokenizerError("added_tokens.json must map tokens to ids; download it again")
        return {files.added_tokens[text]: _token(text, {}, special=text in special) for text in files.added_tokens}
    if not isinstance(entries, Mapping) or not all(key.isdecimal() for key in entries):
        raise TokenizerError(f"{name} in tokenizer_config.json must map ids to tokens; download it again")
    return {int(token_id): _parse(entry, name, special=False) for token_id, entry in entries.items()}


def _parse(value: Any, name: str, *, special: bool) -> tokenizers.AddedToken:
    """Read a token: a string, or an object with its `content` and the flags of `tokenizers.AddedToken`.

    Args:
        value: The entry.
        name: The key of the file that it stands under, for the error message.
        special: Whether an object is special that does not say so. A string always is.
    """
    if isinstance(value, str):
        return _token(value, {}, special=True)
    if not isinstance(value, Mapping) or not isinstance(value.get("content"), str):
        raise TokenizerError(f"{name} has {value!r}, which is not a token; download the tokenizer's files again")
    flags = {flag: bool(value[flag]) for flag in _FLAGS if flag in value}
    return _token(value["content"], flags, special=bool(value.get("special", special)))


def _token(content: str, flags: Mapping[str, bool], *, special: bool) -> tokenizers.AddedToken:
    from tokenizers import AddedToken

    return AddedToken(content, **flags, special=special)
