"""Measure perplexity and accuracy on held-out text, for an exported folder or a checkpoint (the float twin).

    python evaluate.py ../../src/bitnet_tt/assets/demo
    python evaluate.py /tmp/train-demo/twin
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
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from corpus.chat import story_turns
from corpus.questions import Exchange, make_exchange
from corpus.stories import make_story
from data import encode_document, load_tokenizer, render, special_ids
from export import load_checkpoint
from model import BitLinear, Decoder, ModelConfig

EVALUATION_SEED = 2025


def unpack_ternary(packed: Tensor) -> Tensor:
    """Invert export.pack_ternary; return float32."""
    return torch.cat([(packed >> 2 * i & 3) for i in range(4)]).float() - 1


def load_folder(folder: Path) -> Decoder:
    """Load an exported folder into a decoder that computes with its packed weights."""
    config = json.loads((folder / "config.json").read_text())
    model = Decoder(ModelConfig(**{key: config[key] for key in ModelConfig.__slots__ if key in config}))
    tensors = {name.removeprefix("model."): t for name, t in load_file(folder / "model.safetensors").items()}
    for name, module in model.named_modules():
        if isinstance(module, BitLinear):
            module.packed = unpack_ternary(tensors.pop(f"{name}.weight")), tensors.pop(f"{name}.weight_scale")
    incompatible = model.load_state_dict({name: t.float() for name, t in tensors.items()}, strict=False)
    if incompatible.unexpected_keys:
        raise ValueError(f"unexpected tensors: {incompatible.unexpected_keys}")
    return model.eval()


def load_model(path: Path) -> Decoder:
    """Load a model folder, or the checkpoint in a work folder of train.py."""
    return load_folder(path) if (path / "config.json").exists() else load_checkpoint(path / "checkpoint.pt")


@torch.inference_mode()
def perplexity(model: Decoder, documents: list[list[int]]) -> float:
    """Return exp of the mean negative log likelihood per token. Each document has its own context."""
    total, count = 0.0, 0
    for ids in documents:
        window = torch.tensor([ids[: model.config.max_position_embeddings + 1]])
        total += float(functional.cross_entropy(model(window[:, :-1]), window[0, 1:], reduction="sum"))
        count += window.shape[1] - 1
    return math.exp(total / count)


@torch.inference_mode()
def greedy(model: Decoder, prompts: list[list[int]], limit: int, stops: set[int]) -> list[list[int]]:
    """Return greedy continuations. Prompts of equal length run as one batch; there is no KV cache."""
    answers: list[list[int]] = [[] for _ in prompts]
    groups = defaultdict(list)
    for index, prompt in enumerate(prompts):
        groups[len(prompt)].append(index)
    for length, members in groups.items():
        ids = torch.tensor([prompts[index] for index in members])
        running = torch.ones(len(members), dtype=torch.bool)
        for _ in range(min(limit, model.config.max_position_embeddings - length)):
            last = model.hidden(ids).view(*ids.shape, -1)[:, -1]
            new = (last @ model.embed_tokens.weight.T).argmax(-1)
            for row, index in enumerate(members):
                running[row] &= int(new[row]) not in stops
                if running[row]:
                    answers[index].append(int(new[row]))
            if not running.any():
                break
            ids = torch.cat([ids, new[:, None]], 1)
    return answers


def held_out_questions(count: int) -> list[Exchange]:
    """Return `count` distinct questions in phrasings that training never uses."""
    rng, found = random.Random(EVALUATION_SEED), dict[str, Exchange]()
    while len(found) < count:
        exchange = make_exchange(rng, evaluation=True)
        found[exchange.question] = exchange
    return list(found.values())


def evaluate(model: Decoder, tokenizer: Tokenizer, stories: int, questions: int) -> dict[str, float]:
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


def show(model: Decoder, tokenizer: Tokenizer, prompts: list[str], chats: list[str], limit: int) -> None:
    """Print greedy continuations of raw prompts and answers to chat messages."""
    begin, end, end_of_turn = special_ids(tokenizer)
    for text, prefix in [(text, text) for text in prompts] + [(text, render([("user", text)])) for text in chats]:
        ids = greedy(model, [[begin, *tokenizer.encode(prefix).ids]], limit, {end, end_of_turn})[0]
        answer = tokenizer.decode(ids)
        print(f"[{text}]{answer}\n" if text == prefix else f"User: {text}\nAssistant: {answer}\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="exported model folder, or work folder of train.py")
    parser.add_argument("--stories", type=int, default=200, help="held-out stories for perplexity (default 200)")
    parser.add_argument("--questions", type=int, default=600, help="held-out questions (default 600)")
    parser.add_argument("--prompt", action="append", default=[], help="continue this text instead of evaluating")
    parser.add_argument("--chat", action="append", default=[], help="answer this message instead of evaluating")
    parser.add_argument("--limit", type=int, default=160, help="maximum number of new tokens (default 160)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_model(args.model), load_tokenizer(args.model)
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
