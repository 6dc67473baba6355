"""A tokenizer made from a tiktoken or sentencepiece file gives the ids that those libraries give."""

from pathlib import Path

import pytest
import sentencepiece
import tiktoken
from hypothesis import given

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import Tokenizer, bpe
from tests.tokenizer.small_tokenizers import CORPUS, SPECIALS, TRICKY, texts


@pytest.fixture(scope="module")
def llama3(tiktoken_file: Path) -> Tokenizer:
    return Tokenizer.from_path(tiktoken_file.parent)


@pytest.fixture(scope="module")
def encoding(tiktoken_ranks: dict[bytes, int]) -> tiktoken.Encoding:
    return tiktoken.Encoding("small", pat_str=bpe.LLAMA3_PATTERN, mergeable_ranks=tiktoken_ranks, special_tokens={})


@pytest.fixture(scope="module")
def processor(sentencepiece_file: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_file))


@given(text=texts)
def test_a_tiktoken_file_encodes_and_decodes_as_tiktoken_does(
    llama3: Tokenizer, encoding: tiktoken.Encoding, text: str
) -> None:
    ids = llama3.encode(text, add_bos=False, parse_special=False)
    assert ids == encoding.encode_ordinary(text)
    assert llama3.decode(ids) == text


def test_a_tiktoken_file_gets_the_special_tokens_of_llama_3(
    llama3: Tokenizer, tiktoken_ranks: dict[bytes, int]
) -> None:
    base = len(tiktoken_ranks)
    assert llama3.vocab_size == base + 256
    assert llama3.token_to_id("<|begin_of_text|>") == llama3.bos_token_id == base
    assert llama3.token_to_id("<|start_header_id|>") == base + 6
    assert llama3.token_to_id("<|eot_id|>") == base + 9
    assert llama3.token_to_id("<|reserved_special_token_250|>") == base + 255
    assert llama3.eos_token_ids == (base + 1, base + 9)
    assert llama3.encode("a<|eot_id|>")[::2] == [base, base + 9]


def test_tiktoken_special_tokens_can_come_from_the_config(tiktoken_file: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tiktoken_file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(
        '{"added_tokens_decoder": {"500": {"content": "<bos>"}, "501": {"content": "<eos>"}},'
        ' "bos_token": "<bos>", "eos_token": {"content": "<eos>"}}'
    )
    tokenizer = Tokenizer.from_path(tmp_path)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_ids) == (500, (501,))


def test_tiktoken_ranks_with_gaps_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_text("YQ== 0\nYg== 2\n")
    with pytest.raises(TokenizerError, match=r"tokenizer\.model: ranks have gaps"):
        Tokenizer.from_path(tmp_path)


@given(text=texts.filter(lambda text: "\0" not in text))
def test_a_sentencepiece_file_encodes_and_decodes_as_sentencepiece_does(
    sentencepiece_tokenizer: Tokenizer, processor: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    ids = sentencepiece_tokenizer.encode(text, add_bos=False, parse_special=False)
    assert ids == processor.encode(text)
    assert sentencepiece_tokenizer.decode(ids) == processor.decode(ids)


@pytest.mark.parametrize("text", TRICKY)
def test_sentencepiece_text_survives_the_round_trip(sentencepiece_tokenizer: Tokenizer, text: str) -> None:
    assert sentencepiece_tokenizer.decode(sentencepiece_tokenizer.encode(text)) == text


def test_sentencepiece_special_tokens(sentencepiece_tokenizer: Tokenizer) -> None:
    assert sentencepiece_tokenizer.bos_token_id == 1
    assert sentencepiece_tokenizer.eos_token_ids == (2,)
    assert sentencepiece_tokenizer.encode("a")[0] == 1
    assert sentencepiece_tokenizer.encode("</s>", parse_special=False)[-1] != 2


def train(path: Path, **options: object) -> Path:
    """Write a sentencepiece model whose default options are those that are supported."""
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line for text in CORPUS for line in text.splitlines()]),
            model_writer=file,
            minloglevel=2,
            **{
                "model_type": "bpe",
                "vocab_size": 400,
                "byte_fallback": True,
                "normalization_rule_name": "identity",
                "remove_extra_whitespaces": False,
                **options,
            },
        )
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "unigram", "vocab_size": 350}, "its type is UNIGRAM"),
        ({"model_type": "char"}, "its type is CHAR"),
        ({"model_type": "word", "byte_fallback": False, "vocab_size": 40}, "its type is WORD"),
        ({"normalization_rule_name": "nmt_nfkc"}, "it normalises text .nmt_nfkc."),
        ({"remove_extra_whitespaces": True}, "it removes extra spaces"),
        ({"treat_whitespace_as_suffix": True}, "it puts spaces after words"),
        ({"user_defined_symbols": ["<sep>"]}, "it has pieces of type USER_DEFINED"),
    ],
)
def test_other_kinds_of_sentencepiece_models_are_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    train(tmp_path / "tokenizer.model", **options)
    with pytest.raises(TokenizerError, match=rf"tokenizer\.model: {message}; only sentencepiece models of type BPE"):
        Tokenizer.from_path(tmp_path)


@given(text=texts.filter(lambda text: "\0" not in text))
def test_a_model_without_a_space_prefix_encodes_as_sentencepiece_does(model_without_prefix: Path, text: str) -> None:
    tokenizer = Tokenizer.from_path(model_without_prefix.parent)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model_without_prefix))
    assert tokenizer.encode(text, add_bos=False, parse_special=False) == processor.encode(text)


@pytest.fixture(scope="module")
def model_without_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("no-prefix") / "tokenizer.model", add_dummy_prefix=False)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not a model at all", b"YQ== x\n"])
def test_unreadable_model_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.model"):
        Tokenizer.from_path(tmp_path)


def test_special_tokens_of_the_small_byte_level_tokenizer(byte_level: Tokenizer) -> None:
    assert [byte_level.id_to_token(token_id) for token_id in sorted(byte_level.special_ids)] == SPECIALS
