"""Measure perplexity and accuracy on held-out text, of a model folder. With --float, nothing in it is quantised.

    python evaluate.py ../../src/bitnet_tt/assets/demo
    python evaluate.py /tmp/train-demo/twin --float
    python evaluate.py MODEL --prompt "Once upon a time" --prompt "Hello, world!" --chat "What is 7 + 5?"

Training never sees the text that is used here: the stories combine heroes and plots that training never combines, and
the questions have phrasings that training never uses. An answer counts only if greedy decoding gives it exactly.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import defaultdict
from itertools import batched
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from bitnet_tt.pytorch import BitNet, FloatLinear, generate
from bitnet_tt.pytorch.training import load_masters
from corpus.chat import story_turns
from corpus.questions import Exchange, make_exchange
from corpus.stories import make_story
from data import encode_document, load_tokenizer, render, special_ids

EVALUATION_SEED = 2025


BATCH = 32
"""Prompts that are continued together."""


def load_model(folder: Path, floats: bool) -> BitNet:
    """Load a model folder: packed, of master weights, or with `floats` of the float twin."""
    if not floats:
        return BitNet.from_pretrained(folder, batch=BATCH)
    model = load_masters(folder, linear=FloatLinear).eval()
    model.batch = BATCH
    return model


@torch.inference_mode()
def perplexity(model: BitNet, documents: list[list[int]]) -> float:
    """Return exp of the mean negative log likelihood per token. Each document has its own context."""
    total, count = 0.0, 0
    for ids in documents:
        window = torch.tensor([ids[: model.max_length + 1]])
        logits, _, _ = model(window[:, :-1])
        total += float(functional.cross_entropy(logits[0], window[0, 1:], reduction="sum"))
        count += window.shape[1] - 1
    return math.exp(total / count)


def greedy(model: BitNet, prompts: list[list[int]], limit: int, stops: set[int]) -> list[list[int]]:
    """Return greedy continuations."""
    return [answer for some in batched(prompts, BATCH) for answer in generate(model, some, limit, stop_token_ids=stops)]


def held_out_questions(count: int) -> list[Exchange]:
    """Return `count` distinct questions in phrasings that training never uses."""
    rng, found = random.Random(EVALUATION_SEED), dict[str, Exchange]()
    while len(found) < count:
        exchange = make_exchange(rng, evaluation=True)
        found[exchange.question] = exchange
    return list(found.values())


def evaluate(model: BitNet, tokenizer: Tokenizer, stories: int, questions: int) -> dict[str, float]:
    """Return perplexities and accuracies on held-out text, by name."""
    rng = random.Random(EVALUATION_SEED)
    begin, end, end_of_turn = special_ids(tokenizer)
    texts = [encode_document(tokenizer, make_story(rng, evaluation=True).text, rng) for _ in range(stories)]
    chats = [encode_document(tokenizer, story_turns(rng, True), rng) for _ in range(stories // 2)]
    results = {"perplexity, stories": perplexity(model, texts), "perplexity, story chats": perplexity(model, chats)}
    exchanges = held_out_questions(questions)
    prompts = [[begin, *tokenizer.encode(render([("user", item.question)])).ids] for item in exchanges]
    answers = greedy(model, prompts, 48, {end, end_of_turn})
    right = defaultdict(list)
    for item, ids in zip(exchanges, answers, strict=True):
        right[item.topic].append(tokenizer.decode(ids) == item.answer)
    results["accuracy, all questions"] = sum(map(sum, right.values())) / questions
    results |= {f"accuracy, {topic} ({len(hits)})": sum(hits) / len(hits) for topic, hits in sorted(right.items())}
    return results


def show(model: BitNet, tokenizer: Tokenizer, prompts: list[str], chats: list[str], limit: int) -> None:
    """Print greedy continuations of raw prompts and answers to chat messages."""
    begin, end, end_of_turn = special_ids(tokenizer)
    for text, prefix in [(text, text) for text in prompts] + [(text, render([("user", text)])) for text in chats]:
        ids = greedy(model, [[begin, *tokenizer.encode(prefix).ids]], limit, {end, end_of_turn})[0]
        answer = tokenizer.decode(ids)
        print(f"[{text}]{answer}\n" if text == prefix else f"User: {text}\nAssistant: {answer}\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder: packed, or written by train.py")
    parser.add_argument("--float", action="store_true", help="the folder holds the float twin: quantise nothing")
    parser.add_argument("--stories", type=int, default=200, help="held-out stories for perplexity (default 200)")
    parser.add_argument("--questions", type=int, default=600, help="held-out questions (default 600)")
    parser.add_argument("--prompt", action="append", default=[], help="continue this text instead of evaluating")
    parser.add_argument("--chat", action="append", default=[], help="answer this message instead of evaluating")
    parser.add_argument("--limit", type=int, default=160, help="maximum number of new tokens (default 160)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_model(args.model, args.float), load_tokenizer(args.model)
    if args.prompt or args.chat:
        show(model, tokenizer, args.prompt, args.chat, args.limit)
        return
    results = evaluate(model, tokenizer, args.stories, args.questions)
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        print("\n".join(f"{name:32s} {value:8.4f}" for name, value in results.items()))


if __name__ == "__main__":
    main()
