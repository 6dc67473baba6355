"""Load a checkpoint's tokenizer: find its files, choose the one that decides, and read what the others add."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.formats.gguf import is_gguf_name, read_metadata
from bitnet_tt.tokenizer import bpe, gguf, sentencepiece, tiktoken
from bitnet_tt.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load the tokenizer of a checkpoint.

    Args:
        path: A Hugging Face folder or a GGUF file.

    Raises:
        CheckpointError: The GGUF file is damaged.
        TokenizerError: The checkpoint has no tokenizer, or this package cannot use it. The message names the file, or
            the files that were looked for.
    """
    path = Path(path)
    try:
        if is_gguf_name(path) and not path.is_dir():
            return gguf.from_metadata(read_metadata(path))
        return _read_folder(path)
    except OSError as error:
        raise TokenizerError(f"cannot read {error.filename or path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: the chat template is not UTF-8 text; download it again") from error
    except TokenizerError as error:
        if str(path) in str(error):
            raise
        raise TokenizerError(f"{path}: {error}") from error


def _read_folder(folder: Path) -> Tokenizer:
    config = _read_json(folder / "tokenizer_config.json")
    bos, eos = (_token(config, name) for name in ("bos_token", "eos_token"))
    add_bos = config.get("add_bos_token")
    if (folder / "tokenizer.json").is_file():
        file = folder / "tokenizer.json"
        engine = bpe.load_engine(file.read_bytes(), str(file))
        first = engine.encode("").ids[:1]  # the token that the file's own post-processor puts first, if any
        bos = bos or (engine.id_to_token(first[0]) if first else None)
        default_add_bos = bool(first) and engine.id_to_token(first[0]) == bos
    elif (folder / "tokenizer.model").is_file():
        engine, bos, eos = _read_model_file(folder / "tokenizer.model", config, bos, eos)
        default_add_bos = True
        if bos is not None and add_bos is not False:
            bpe.prepend_bos(engine, bos)
    else:
        raise TokenizerError(
            f"no tokenizer in {folder}: looked for tokenizer.json and tokenizer.model; "
            "copy them from the model's original repository"
        )
    return Tokenizer(
        engine,
        bos_token=bos,
        eos_tokens=[eos] if eos else [],
        add_bos=add_bos if isinstance(add_bos, bool) else default_add_bos,
        chat_templates=_chat_templates(folder, config),
    )


def _read_model_file(
    path: Path, config: Mapping[str, Any], bos: str | None, eos: str | None
) -> tuple[tokenizers.Tokenizer, str | None, str | None]:
    """Read a tokenizer.model, which may be tiktoken's or sentencepiece's. Return the engine, `bos` and `eos`.

    The model file gives the beginning-of-text and end-of-text tokens that are None.
    """
    ranks = tiktoken.read_ranks(path)
    if ranks is None:
        engine, model_bos, model_eos = sentencepiece.build_engine(path)
        return engine, bos or model_bos, eos or model_eos
    try:
        added = config.get("added_tokens_decoder", {})
        specials = {int(token_id): str(token["content"]) for token_id, token in added.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise TokenizerError("added_tokens_decoder in tokenizer_config.json is damaged; download it again") from error
    engine = tiktoken.build_engine(path, ranks, specials)
    return engine, bos or tiktoken.BOS_TOKEN, eos or tiktoken.EOS_TOKEN


def _chat_templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the templates by name, from a separate file if there is one, otherwise from tokenizer_config.json."""
    if (folder / "chat_template.jinja").is_file():
        return {"default": (folder / "chat_template.jinja").read_text(encoding="utf-8")}
    template = _read_json(folder / "chat_template.json").get("chat_template") or config.get("chat_template")
    if isinstance(template, str):
        return {"default": template}
    entries = [entry for entry in template if isinstance(entry, Mapping)] if isinstance(template, list) else []
    return {str(entry.get("name")): entry["template"] for entry in entries if isinstance(entry.get("template"), str)}


def _token(config: Mapping[str, Any], name: str) -> str | None:
    """Return a token of tokenizer_config.json, which holds it as a string or as an object with its `content`."""
    value = config.get(name)
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object, or an empty one if the file does not exist."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is not valid JSON: {error}; download it again") from error
    if not isinstance(data, Mapping):
        raise TokenizerError(f"{path} must hold a JSON object")
    return data
