"""Read a checkpoint's tokenizer: find its files, choose the one that decides, and read what the others add."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.formats.gguf import is_gguf_name, read_metadata
from bitnet_tt.tokenizer import bpe, gguf, llama, sentencepiece, special_tokens, tiktoken
from bitnet_tt.tokenizer.parts import TokenizerParts
from bitnet_tt.tokenizer.special_tokens import TokenFiles

if TYPE_CHECKING:
    import tokenizers


def read_tokenizer(path: Path) -> TokenizerParts:
    """Read the tokenizer of a checkpoint.

    Args:
        path: A Hugging Face folder or a GGUF file.

    Raises:
        CheckpointError: The GGUF file is damaged.
        TokenizerError: The checkpoint has no tokenizer, or this package cannot use it. The message names the file, or
            the files that were looked for.
    """
    try:
        if is_gguf_name(path) and not path.is_dir():
            return gguf.read_tokenizer(read_metadata(path))
        return _read_folder(path)
    except OSError as error:
        raise TokenizerError(f"cannot read {error.filename or path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: the chat template is not UTF-8 text; download it again") from error
    except TokenizerError as error:
        if str(path) in str(error):
            raise
        raise TokenizerError(f"{path}: {error}") from error


def require_tokenizer(path: Path) -> None:
    """Check that a checkpoint has a tokenizer, without reading it: before its weights are read, which takes longer.

    A GGUF file is not checked.

    Raises:
        TokenizerError: The folder has none; the message names the files that were looked for.
    """
    if not is_gguf_name(path) or path.is_dir():
        _tokenizer_file(path)


def _tokenizer_file(folder: Path) -> Path:
    """Return the file that decides: tokenizer.json if there is one."""
    for name in ("tokenizer.json", "tokenizer.model"):
        if (folder / name).is_file():
            return folder / name
    raise TokenizerError(
        f"no tokenizer in {folder}: looked for tokenizer.json and tokenizer.model; "
        "copy them from the model's original repository"
    )


def _read_folder(folder: Path) -> TokenizerParts:
    config, special_tokens_map, added_tokens = (
        _read_json(folder / f"{name}.json") for name in ("tokenizer_config", "special_tokens_map", "added_tokens")
    )
    files = TokenFiles(config, special_tokens_map, added_tokens)
    file = _tokenizer_file(folder)
    engine, names = (_read_tokenizer_json if file.suffix == ".json" else _read_model_file)(file, files)
    bos, eos = names.pop("bos_token", None), names.pop("eos_token", None)
    return TokenizerParts(
        engine=engine,
        bos_token=bos,
        eos_tokens=[] if eos is None else [eos],
        other_tokens=names,
        chat_templates=_chat_templates(folder, config),
    )


def _read_tokenizer_json(path: Path, files: TokenFiles) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Read a tokenizer.json. Return the engine, and the special tokens by use.

    The post-processor of the file decides which tokens are put around a text. As in transformers 5, the settings
    `add_bos_token` and `add_eos_token` of tokenizer_config.json do not count.
    """
    engine = bpe.load_engine(path.read_bytes(), str(path))
    saved_tokens = engine.get_added_tokens_decoder()
    if llama.is_declared(engine, files.config):
        files = replace(files, config=llama.SPECIAL_TOKENS | dict(files.config))
        engine = llama.rebuild(engine, files.config)
    names = special_tokens.merge(engine, files, saved_tokens)
    first = engine.encode("").ids[:1]
    added = engine.get_added_tokens_decoder()
    if "bos_token" not in names and first and first[0] in added:
        names["bos_token"] = added[first[0]].content
    engine.encode_special_tokens = files.config.get("split_special_tokens") is True
    return engine, names


def _read_model_file(path: Path, files: TokenFiles) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Read a tokenizer.model, which may be tiktoken's or sentencepiece's. Return the engine and the special tokens.

    The model file gives the beginning-of-text and end-of-text tokens that the other files do not name.
    """
    ranks = tiktoken.read_ranks(path)
    if ranks is None:
        engine, names = sentencepiece.build_engine(path)
    else:
        declared = special_tokens.read_added_tokens(files)
        engine, names = tiktoken.build_engine(path, ranks, {key: token.content for key, token in declared.items()})
    names = special_tokens.merge(engine, replace(files, config=names | dict(files.config)))
    before = names.get("bos_token") if files.config.get("add_bos_token") is not False else None
    after = names.get("eos_token") if files.config.get("add_eos_token") is True else None
    bpe.surround(engine, before, after)
    return engine, names


def _chat_templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the templates by name, from separate files if there are any, otherwise from tokenizer_config.json."""
    files = {path.stem: path for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    if (folder / "chat_template.jinja").is_file():
        files["default"] = folder / "chat_template.jinja"
    if files:
        return {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    template = _read_json(folder / "chat_template.json").get("chat_template") or config.get("chat_template")
    if isinstance(template, str):
        return {"default": template}
    if isinstance(template, Mapping):
        template = [{"name": name, "template": source} for name, source in template.items()]
    entries = [entry for entry in template if isinstance(entry, Mapping)] if isinstance(template, list) else []
    return {str(entry.get("name")): entry["template"] for entry in entries if isinstance(entry.get("template"), str)}


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
