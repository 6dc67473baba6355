"""lm-evaluation-harness gets from the model `bitnet-tt` what the model itself computes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitnet_tt.errors import ConfigError

pytest.importorskip("lm_eval", reason="the dependency group clients is not installed: make test installs it")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the harness and its libraries
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    from bitnet_tt.evaluation.harness import BitNetLM

CONTEXT, PARIS, ROME = "The capital of France is", " Paris", " Rome"


@pytest.fixture(scope="module")
def lm() -> Iterator[BitNetLM]:
    made = BitNetLM.create_from_arg_obj({"pretrained": "demo", "threads": 1}, {"batch_size": "3", "device": "cuda:0"})
    yield made
    made.model.close()


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, one, index) for index, one in enumerate(arguments)]


def log_softmax(lm: BitNetLM, token_ids: list[int]) -> np.ndarray:
    logits = lm.model.logits(token_ids).astype(np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_the_name_is_registered() -> None:
    assert get_model("bitnet-tt") is BitNetLM


def test_loglikelihood(lm: BitNetLM) -> None:
    pairs = [(CONTEXT, PARIS), (CONTEXT, ROME), ("", "Once upon a time")]
    results = lm.loglikelihood(requests("loglikelihood", *pairs), disable_tqdm=True)
    for (context, continuation), (logprob, greedy) in zip(pairs, results, strict=True):
        whole = lm.model.tokenizer.encode(context + continuation)
        start = len(lm.model.tokenizer.encode(context))
        rows = log_softmax(lm, whole)[start - 1 : -1]
        expected = sum(row[token] for row, token in zip(rows, whole[start:], strict=True))
        assert logprob == pytest.approx(expected, abs=1e-9)
        assert greedy == all(row.argmax() == token for row, token in zip(rows, whole[start:], strict=True))
    assert results[0][0] > results[1][0]


def test_long_contexts_lose_their_first_tokens(lm: BitNetLM) -> None:
    long = CONTEXT * (2 * lm.max_length // 5)
    [(logprob, _)] = lm.loglikelihood(requests("loglikelihood", (long, PARIS)), disable_tqdm=True)
    whole = lm.model.tokenizer.encode(long + PARIS)
    target = len(whole) - len(lm.model.tokenizer.encode(long))
    kept = whole[-(lm.max_length + 1) :]
    rows = log_softmax(lm, kept[:-1])[-target:]
    expected = sum(row[token] for row, token in zip(rows, kept[-target:], strict=True))
    assert logprob == pytest.approx(expected, abs=1e-9)


def test_rolling_loglikelihood(lm: BitNetLM) -> None:
    text = "Once upon a time, there was a little fox."
    [total] = lm.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)), disable_tqdm=True)
    tokens = lm.model.tokenizer.encode(text)
    assert math.exp(-total / (len(tokens) - 1)) == pytest.approx(lm.model.perplexity(text), rel=1e-12)


def test_generate_until(lm: BitNetLM) -> None:
    whole = lm.model.generate("Once upon a time", max_new_tokens=40)
    stop = whole.split()[5]
    settings = [
        {"max_gen_toks": 40},
        {"max_gen_toks": 40, "until": [stop, ""]},
        {"max_new_tokens": 40, "do_sample": True, "temperature": 0.9, "seed": 3},
    ]
    texts = lm.generate_until(
        requests("generate_until", *(("Once upon a time", one) for one in settings)), disable_tqdm=True
    )
    assert texts[0] == whole
    assert texts[1] == whole.split(stop)[0]
    assert texts[2] == lm.model.generate("Once upon a time", max_new_tokens=40, temperature=0.9, seed=3)
    with pytest.raises(ConfigError, match="generation settings num_beams are not supported"):
        lm.generate_until(requests("generate_until", ("x", {"num_beams": 2})), disable_tqdm=True)


def test_chats(lm: BitNetLM) -> None:
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    rendered = lm.apply_chat_template(chat)
    assert lm.tok_encode(rendered) == lm.model.tokenizer.apply_chat_template(chat)
    assert lm.chat_template(True) == lm.model.tokenizer.chat_templates["default"]
    assert lm.chat_template(False) is None
    begun = [*chat, {"role": "assistant", "content": "The capital"}]
    assert lm.apply_chat_template(begun, add_generation_prompt=False).endswith("The capital")
    assert lm.tokenizer_name == "demo"


TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
{rest}
"""


@pytest.mark.slow
def test_tasks_of_ours_by_the_command(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    rows = [
        {"question": "The capital of France is", "choices": ["Paris", "Rome"], "answer": 0},
        {"question": "The capital of Italy is", "choices": ["Paris", "Rome"], "answer": 1},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    choice = 'doc_to_choice: "{{choices}}"\ndoc_to_target: answer\nmetric_list: [{metric: acc}]'
    text = (
        'doc_to_target: " {{choices[answer]}}"\ngeneration_kwargs: {max_gen_toks: 4, until: ["."]}\n'
        "metric_list: [{metric: exact_match}]"
    )
    for name, kind, rest in (("tiny_choice", "multiple_choice", choice), ("tiny_text", "generate_until", text)):
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, data=data, kind=kind, rest=rest))
    arguments = [
        *("run", "--model", "bitnet-tt", "--model_args", "pretrained=demo,threads=1", "--batch_size", "2"),
        *("--tasks", "tiny_choice,tiny_text", "--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")),
    ]
    program = "from bitnet_tt.evaluation.command import main; main()"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    run = subprocess.run([sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    [path] = (tmp_path / "out").rglob("results*.json")
    results = json.loads(path.read_text())["results"]
    assert results["tiny_choice"]["acc,none"] == 1.0
    assert results["tiny_text"]["exact_match,none"] == 1.0
