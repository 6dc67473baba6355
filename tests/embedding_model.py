"""A small embedding model: the golden checkpoint with a tokenizer that puts the end-of-text token after a text."""

from __future__ import annotations

import shutil
from pathlib import Path

from tokenizers import processors

from bitnet_tt.tokenizer import Tokenizer
from tests import golden_checkpoints as golden
from tests.tokenizer.small_tokenizers import SPECIALS, train_engine

END_ID = 401


def write_embedding_model(folder: Path) -> Path:
    """Write the model into a new folder."""
    shutil.copytree(golden.FOLDER / "qwen3-embedding", folder)
    engine = train_engine()
    end = SPECIALS[1]
    engine.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, END_ID)])
    Tokenizer(engine, bos_token=None, eos_tokens=[end], chat_templates={}).save(folder)
    return folder
