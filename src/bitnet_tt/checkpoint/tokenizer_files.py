"""The files of a tokenizer, which go wherever a model goes."""

from __future__ import annotations

import shutil
from pathlib import Path

from bitnet_tt.tokenizer import Tokenizer

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer of a checkpoint.

    Args:
        source: A Hugging Face folder, whose tokenizer files are copied byte for byte if it has any; or a .gguf file,
            whose tokenizer is written as tokenizer.json and tokenizer_config.json.
        folder: An existing folder.

    Raises:
        TokenizerError: The .gguf file has no usable tokenizer.
    """
    if source.is_dir():
        for name in _TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
    else:
        Tokenizer.from_path(source).save(folder)
