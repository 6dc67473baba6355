"""Random tokenizer folders give the ids that Hugging Face transformers 5 gives (tools/record_transformers)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bitnet_tt.tokenizer import Tokenizer

FILE = Path(os.environ.get("BITNET_TT_RECORDED_TOKENIZERS", Path(__file__).parent / "recorded_tokenizers.json"))
RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: str(case["seed"]))
def test_a_folder_gives_the_ids_of_transformers(case: dict[str, Any], tmp_path: Path) -> None:
    files = {"tokenizer.json": RECORDED["bases"][case["base"]] | case["tokenizer"]} | case["files"]
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    tokenizer = Tokenizer.from_path(tmp_path)
    expected = case["expected"]
    for name, token in (("bos_token", tokenizer.bos_token), ("eos_token", next(iter(tokenizer.eos_tokens), None))):
        assert expected[name] in (token, None)
    assert set(expected["special_ids"]) <= tokenizer.special_ids
    for text, ids in zip(case["texts"], expected["ids"], strict=True):
        assert tokenizer.engine.encode(text).ids == ids
        # transformers puts a second <s> before a text that begins with one; we do not
        once = ids[1:] if ids[:1] == ids[1:2] == [tokenizer.bos_token_id] else ids
        assert tokenizer.encode(text) in (ids, once)
