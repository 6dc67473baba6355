"""Write the state of a training as a Hugging Face folder of master weights, with its tokenizer and chat template.

`bitnet-tt convert` turns it into the packed folder of the demo model.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from bitnet_tt.config import ModelConfig
from bitnet_tt.pytorch import BitNet
from bitnet_tt.pytorch.training import save_masters
from data import BEGIN, CHAT_TEMPLATE, END, END_OF_TURN, SPECIAL_TOKENS

VOCAB_SIZE = 2048


def demo_config() -> ModelConfig:
    """Return the shape of the demo model: that of BitNet b1.58 2B4T, smaller."""
    return ModelConfig.from_dict(
        {
            "model_type": "bitnet",
            "hidden_act": "relu2",
            "tie_word_embeddings": True,
            "vocab_size": VOCAB_SIZE,
            "hidden_size": 256,
            "intermediate_size": 704,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rope_theta": 10000.0,
            "bos_token_id": SPECIAL_TOKENS.index(BEGIN),
            "eos_token_id": [SPECIAL_TOKENS.index(END_OF_TURN), SPECIAL_TOKENS.index(END)],
        }
    )


def save(module: BitNet, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the master weights and the tokenizer; a reader never sees half a folder."""
    with TemporaryDirectory() as temporary:
        write_tokenizer(tokenizer, Path(temporary))
        save_masters(module, folder, tokenizer=Path(temporary), overwrite=True)


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, which puts the begin token before a text, and tokenizer_config.json."""
    complete = Tokenizer.from_str(tokenizer.to_str())
    complete.post_processor = TemplateProcessing(
        single=[BEGIN, "$A"], special_tokens=[(BEGIN, SPECIAL_TOKENS.index(BEGIN))]
    )
    complete.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": demo_config().max_position_embeddings,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
