"""The public class: generation, streams, chats, scores, saving, closing, and errors that name the problem."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Unpack, get_type_hints

import numpy as np
import pytest

import bitnet_tt
from bitnet_tt import BitNetModel, reference
from bitnet_tt.config import GenerationOptions
from bitnet_tt.errors import BitNetError, ConfigError, DeviceError, RequestError, TokenizerError
from bitnet_tt.reference.compare import CONTRACT, compare_logits
from tests import golden_checkpoints as golden
from tests.engine.fake_backend import FakeBackend
from tests.resident import resident_anonymous_bytes

STORY = "Once upon a time, there was a little fox"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def model() -> BitNetModel:
    return BitNetModel.from_pretrained("demo", max_batch_size=3)


def test_the_readme_s_example(model: BitNetModel) -> None:
    assert len(model.generate("Hello, world!", max_new_tokens=30).split()) > 5


def test_it_tells_a_story_and_answers_a_question(model: BitNetModel) -> None:
    assert "fox" in STORY + model.generate(STORY, max_new_tokens=60)
    assert "Paris" in model.chat(QUESTION)


def test_logits_equal_the_reference(model: BitNetModel) -> None:
    token_ids = model.tokenizer.encode(STORY + " who lived in the forest. One day")
    expected = reference.forward(model.config, model.checkpoint.load_weights(), token_ids)
    agreement = compare_logits(model.logits(token_ids), expected)
    assert agreement.meets(CONTRACT), agreement


def test_a_list_gives_what_each_prompt_gives_alone(model: BitNetModel) -> None:
    prompts = [STORY, "Hello, world!", "The cat", STORY + " who", "One day", "A"]
    for options in ({}, {"temperature": 0.9, "seed": 11}, {"temperature": 1.2, "top_p": 0.9, "seed": 3}):
        together = model.generate(prompts, max_new_tokens=25, **options)
        assert together == [model.generate(prompt, max_new_tokens=25, **options) for prompt in prompts]


def test_a_seed_decides_the_text(model: BitNetModel) -> None:
    texts = {model.generate(STORY, temperature=1.5, seed=seed, max_new_tokens=30) for seed in (1, 1, 2)}
    assert len(texts) == 2


def test_token_ids_are_prompts_too(model: BitNetModel) -> None:
    ids = model.tokenizer.encode(STORY)
    text = model.generate(STORY, max_new_tokens=20)
    assert model.generate(ids, max_new_tokens=20) == text
    assert model.generate(np.array(ids), max_new_tokens=20) == text
    assert model.generate([ids, ids[:3]], max_new_tokens=20)[0] == text
    assert model.generate([]) == []


def test_a_stream_adds_up_to_the_text(model: BitNetModel) -> None:
    pieces = list(model.stream(STORY, max_new_tokens=40, logprobs=2))
    assert "".join(piece.text for piece in pieces) == model.generate(STORY, max_new_tokens=40)
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason in ("stop", "length")
    assert all(piece.logprobs[0].token_id == piece.token_ids[0] == piece.logprobs[0].top[0][0] for piece in pieces)
    timings = pieces[-1].timings
    assert timings is not None
    assert timings.prompt_tokens == len(model.tokenizer.encode(STORY))
    assert timings.generated_tokens == len(pieces)
    assert timings.first_token_seconds > 0


def test_streams_can_be_taken_in_turns(model: BitNetModel) -> None:
    streams = [model.stream(prompt, max_new_tokens=15) for prompt in (STORY, "The cat")]
    texts = ["", ""]
    for pair in zip(*streams, strict=False):
        texts = [text + piece.text for text, piece in zip(texts, pair, strict=True)]
    assert texts[0] == model.generate(STORY, max_new_tokens=15)
    assert texts[1] == model.generate("The cat", max_new_tokens=15)


def test_a_stop_string_ends_the_text_before_it(model: BitNetModel) -> None:
    text = model.generate(STORY, max_new_tokens=60)
    stop = text[20:26]
    pieces = list(model.stream(STORY, max_new_tokens=60, stop=[stop]))
    assert "".join(piece.text for piece in pieces) == text[: text.index(stop)]
    assert pieces[-1].finish_reason == "stop"


def test_chat_remembers_the_conversation_in_the_cache(model: BitNetModel) -> None:
    answer = model.chat(QUESTION)
    longer = [*QUESTION, {"role": "assistant", "content": answer}, {"role": "user", "content": "Thank you! " * 12}]
    for _ in range(2):
        last = list(model.stream_chat(longer, max_new_tokens=5))[-1]
    assert last.timings is not None
    assert last.timings.reused_tokens >= 32


def test_perplexity_is_that_of_the_logits(model: BitNetModel) -> None:
    ids = model.tokenizer.encode(STORY)
    logits = model.logits(ids[:-1]).astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = np.exp(-log_probabilities[np.arange(len(ids) - 1), ids[1:]].mean())
    assert model.perplexity(STORY) == pytest.approx(expected)
    assert model.perplexity(STORY) < model.perplexity("Fox little a was there time a upon once")


def test_saved_and_loaded_it_is_the_same_model(model: BitNetModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "copy")
    copy = BitNetModel.from_pretrained(tmp_path / "copy")
    ids = model.tokenizer.encode(STORY)
    assert np.array_equal(copy.logits(ids), model.logits(ids))
    assert copy.chat(QUESTION) == model.chat(QUESTION)
    with pytest.raises(BitNetError, match="exists"):
        model.save_pretrained(tmp_path / "copy")


def test_a_special_token_that_the_model_does_not_have_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(Path(bitnet_tt.__file__).parent / "assets/demo", folder)
    (folder / "special_tokens_map.json").write_text('{"eos_token": "<none>"}')
    with pytest.raises(TokenizerError, match="special token '<none>' has id 2048, but the model has only 2048 tokens"):
        BitNetModel.from_pretrained(folder)


def test_the_context_is_a_limit_with_a_name(model: BitNetModel) -> None:
    small = BitNetModel.from_pretrained("demo", context_length=32)
    pieces = list(small.stream([1, 2, 3], max_new_tokens=None, ignore_eos=True))
    assert (len(pieces), pieces[-1].finish_reason) == (29, "length")
    with pytest.raises(RequestError, match=r"32.*context_length"):
        small.generate([1] * 32)
    with pytest.raises(ConfigError, match="context_length"):
        BitNetModel.from_pretrained("demo", context_length=model.config.max_position_embeddings + 1)


def test_bad_requests_say_what_is_wrong(model: BitNetModel) -> None:
    with pytest.raises(RequestError, match="empty"):
        model.generate([[]])
    with pytest.raises(RequestError, match="vocabulary"):
        model.generate([model.config.vocab_size])
    with pytest.raises(RequestError, match="int"):
        model.generate(5)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="temprature"):
        model.stream(STORY, temprature=1.0)
    with pytest.raises(RequestError, match="two tokens"):
        model.perplexity("")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (b"Hello", "bytes; decode it"),
        (bytearray(b"Hello"), "bytearray"),
        (None, "NoneType"),
        ({1, 2}, "set"),
        (["a", None], "NoneType"),
        ([None], "NoneType"),
        ([b"a"], "bytes"),
        ([["a"]], "not str"),
        ([[[1]]], "not list"),
        ([1.0, 2.0], "not float"),
        ([1, True], "not bool"),
        (np.array([1.5]), "float64"),
        (np.array(3), "ndarray"),
    ],
)
def test_prompts_of_the_wrong_kind_name_their_type(model: BitNetModel, prompt: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        model.generate(prompt, max_new_tokens=1)  # type: ignore[call-overload]


def test_other_methods_name_the_wrong_type_too(model: BitNetModel) -> None:
    for call in (
        lambda: model.stream(["a", "b"]),  # type: ignore[list-item]
        lambda: model.logits("x"),  # type: ignore[arg-type]
        lambda: model.perplexity(b"x"),  # type: ignore[arg-type]
        lambda: model.chat("x"),  # type: ignore[arg-type]
        lambda: model.chat(["x"]),  # type: ignore[list-item]
    ):
        with pytest.raises(RequestError, match=r"str|bytes"):
            call()
    with pytest.raises(RequestError, match="float"):
        model.logits([1.5])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="context_length"):
        BitNetModel.from_pretrained("demo", context_length="8")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="cards is 2, but the device is the CPU"):
        BitNetModel.from_pretrained("demo", cards=2)
    with pytest.raises(DeviceError, match="tensor_parallel is set, but the device is the CPU"):
        BitNetModel.from_pretrained("demo", tensor_parallel=True)
    with pytest.raises(DeviceError, match="cards is 3; tensor parallelism works on 2 cards"):
        BitNetModel.from_pretrained("demo", device="tt", cards=3, tensor_parallel=True)


def test_numpy_s_numbers_are_taken(model: BitNetModel) -> None:
    expected = model.generate(STORY, max_new_tokens=4, temperature=0.5, seed=3, stop_token_ids=[7])
    options = {"max_new_tokens": np.int32(4), "temperature": np.float32(0.5), "seed": np.uint64(3)}
    assert model.generate(STORY, stop_token_ids=np.array([7]), **options) == expected
    ids = model.tokenizer.encode(STORY)
    assert model.generate([np.int64(i) for i in ids]) == model.generate(ids)  # type: ignore[misc]


def test_no_stop_may_be_none(model: BitNetModel) -> None:
    text = model.generate(STORY, max_new_tokens=4)
    assert model.generate(STORY, max_new_tokens=4, stop=None, stop_token_ids=None) == text


def test_a_closed_model_says_so(model: BitNetModel) -> None:
    closed = BitNetModel.from_pretrained("demo")
    stream = closed.stream(STORY)
    next(stream)
    closed.close()
    closed.close()
    calls = (
        lambda: closed.generate(STORY),
        lambda: closed.generate([STORY, STORY]),
        lambda: closed.stream(STORY),
        lambda: closed.chat(QUESTION),
        lambda: closed.logits([1, 2]),
        lambda: closed.perplexity(STORY),
        lambda: next(stream),
        lambda: closed.backend.stats(),
    )
    for call in calls:
        with pytest.raises(DeviceError, match=r"closed.*load .*again"):
            call()
    assert model.generate(STORY, max_new_tokens=1)


def test_close_frees_the_memory() -> None:
    model = BitNetModel.from_pretrained("demo")
    model.generate(STORY, max_new_tokens=1)
    with_model = resident_anonymous_bytes()
    weight_bytes = model.backend.stats().weight_bytes
    file_bytes = model.backend.stats().file_bytes
    assert weight_bytes is not None
    assert file_bytes is not None
    model.close()
    assert resident_anonymous_bytes() <= with_model - 0.9 * (weight_bytes - file_bytes)


def test_with_closes_the_model_after_an_error_too() -> None:
    with BitNetModel.from_pretrained("demo") as model:
        assert model.generate(STORY, max_new_tokens=1)
    with pytest.raises(DeviceError, match="closed"):
        model.generate(STORY)
    with pytest.raises(ZeroDivisionError), BitNetModel.from_pretrained("demo") as failed:
        raise ZeroDivisionError
    with pytest.raises(DeviceError, match="closed"):
        failed.generate(STORY)


def test_a_device_without_room_for_the_cache_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullBackend(FakeBackend):
        def allocate(self, num_blocks: int, block_size: int) -> None:
            raise DeviceError("too little memory")

    backend = FullBackend()
    monkeypatch.setattr("bitnet_tt.model.create_backend", lambda *arguments, **options: backend)
    with pytest.raises(DeviceError, match="too little memory"):
        BitNetModel.from_pretrained("demo")
    assert backend.closings == 1


@pytest.mark.parametrize("name", ["generate", "stream", "chat", "stream_chat"])
def test_type_checkers_know_the_generation_options(name: str) -> None:
    """So `model.generate("x", temprature=1)` is a type error before it is a ConfigError."""
    assert get_type_hints(getattr(BitNetModel, name))["options"] == Unpack[GenerationOptions]


def test_a_model_that_the_device_cannot_run_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    folder = Path(bitnet_tt.__file__).parent / "assets/demo"
    shutil.copytree(golden.FOLDER / "qwen3-packed-yarn", tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "model")
    progress: list[int] = []
    with pytest.raises(DeviceError, match=r"q_norm and k_norm .* use device='cpu'"):
        BitNetModel.from_pretrained(tmp_path / "model", device="tt", progress=lambda done, _: progress.append(done))
    assert progress == []


def test_a_missing_tokenizer_is_found_before_weights_are_read() -> None:
    progress: list[int] = []
    with pytest.raises(TokenizerError, match="no tokenizer in"):
        BitNetModel.from_pretrained(
            golden.FOLDER / "bitnet-master-bf16", progress=lambda done, _: progress.append(done)
        )
    assert progress == []


def test_a_missing_ttnn_is_found_before_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    progress: list[int] = []
    with pytest.raises(DeviceError, match="needs the Python package ttnn"):
        BitNetModel.from_pretrained("demo", device="tt", progress=lambda done, _: progress.append(done))
    assert progress == []


@pytest.mark.parametrize(
    ("error", "option"),
    [
        (ConfigError, {"max_batch_size": 1.5}),
        (ConfigError, {"max_queue": -1}),
        (ConfigError, {"max_stall_ms": 0}),
        (ConfigError, {"threads": "2"}),
        (ConfigError, {"precision": "bf16"}),
        (ConfigError, {"ternary_tiles": "x"}),
        (ConfigError, {"cards": 9}),
        (ConfigError, {"tensor_parallel": 2}),
        (DeviceError, {"threads": 0}),
        (DeviceError, {"isa": "avx9"}),
        (DeviceError, {"device": "gpu"}),
    ],
)
def test_a_wrong_setting_is_found_before_the_model_is(error: type[Exception], option: dict[str, Any]) -> None:
    with pytest.raises(error, match=next(iter(option))):
        BitNetModel.from_pretrained("no-such-model", local_files_only=True, **option)


def test_devices_that_are_not_there_say_how_to_get_them() -> None:
    with pytest.raises(DeviceError, match="ttnn"):
        BitNetModel.from_pretrained("demo", device="tt")
    with pytest.raises(DeviceError, match="auto, cpu, tt"):
        BitNetModel.from_pretrained("demo", device="gpu")  # type: ignore[arg-type]
