"""A byte-level tokenizer trained on a few lines, and texts that are hard to split into words."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from tokenizers import AddedToken, trainers
from tokenizers import Tokenizer as Engine

from bitnet_tt.tokenizer import Tokenizer, bpe, gguf

SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
)
PLACEHOLDER = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    + "{% if message['role'] == 'user' %}{{ 'Human: ' + message['content'] + '\\n\\nBITNETAssistant: ' + eos_token }}"
    + "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
"""What bitnet.cpp's converter writes into files of 2B4T and of 1bitLLM's models."""
CORPUS = [
    "Once upon a time there was a little fox who couldn't swim. The fox said: \"I'll learn it!\"",
    "The capital of France is Paris; 12 plus 30 is 42, and 1234567 is large.\n\n\tIndented  text   here.",
    "日本語のテキストと中文文本。 Ünïcödé, naïve café, Straße. Привет, мир! 🙂👍🏽👨\u200d👩\u200d👧 e\u0301",
    "def main():\n    return {'a': 1}  # comment\r\n",
] * 8
TRICKY = [
    "",
    " ",
    "  leading and trailing  ",
    "a\n\n\nb \n c\t\td\r\n",
    "don't WE'LL I'm 'tis",
    "1234567 3.14 ١٢٣",
    "aaaaaaaaaaaaaaaaaaa",
    "日本語 ーー 漢字仮名交じり文",
    "👨\u200d👩\u200d👧 👍🏽 e\u0301 \u200b \u00a0x",
    "x" * 300 + " " * 40 + "y",
    "snake_case(camelCase) -> None: # ★",
]

texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="ab e\n'12.日é🙂\u200d\u0301▁", max_size=60),
    st.sampled_from(TRICKY),
)


def train_engine(pattern: str = bpe.LLAMA3_PATTERN, vocab_size: int = 400) -> Engine:
    """Train a byte-level BPE. Special tokens like Llama 3's follow its vocabulary."""
    alphabet = bpe.byte_alphabet()
    vocab = {character: index for index, character in enumerate(alphabet.values())}
    engine = bpe.byte_level_engine(vocab, [], (pattern,), ignore_merges=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=list(vocab), show_progress=False, special_tokens=[]
    )
    engine.train_from_iterator(CORPUS, trainer)
    engine.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIALS])
    return engine


def from_metadata(metadata: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that a GGUF file's metadata describes."""
    return Tokenizer(**gguf.read_tokenizer(metadata))
