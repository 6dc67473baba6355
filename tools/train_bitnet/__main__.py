"""Train a BitNet, or train one further: `uv run --extra torch python -m tools.train_bitnet --help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer

from bitnet_tt.checkpoint import resolve
from bitnet_tt.cli.errors import exit_on_errors
from bitnet_tt.cli.options import MODEL_HELP, expand
from bitnet_tt.config import ModelConfig
from bitnet_tt.pytorch import BitNet, FloatLinear, TrainableBitLinear
from bitnet_tt.pytorch.training import load_masters, save_masters
from bitnet_tt.tokenizer import Tokenizer
from tools.train_bitnet.text import encode, train_tokenizer
from tools.train_bitnet.train import Schedule, train


@dataclass(frozen=True, slots=True)
class Shape:
    """The options that give the shape of a new model."""

    hidden: Annotated[int, typer.Option(help="Features of a token.")] = 256
    intermediate: Annotated[int, typer.Option(help="Features inside the MLP.")] = 704
    layers: Annotated[int, typer.Option(help="Number of layers.")] = 4
    heads: Annotated[int, typer.Option(help="Number of query heads.")] = 4
    kv_heads: Annotated[int, typer.Option(help="Number of key and value heads.")] = 2
    vocab: Annotated[int, typer.Option(help="Size of the vocabulary; its tokenizer is trained on the text.")] = 2048
    context: Annotated[int, typer.Option(help="Maximum number of tokens of a text.")] = 512

    def config(self) -> ModelConfig:
        """Return the config of a new model in the architecture of BitNet b1.58 2B4T."""
        return ModelConfig.from_dict(
            {
                "model_type": "bitnet",
                "hidden_act": "relu2",
                "tie_word_embeddings": True,
                "hidden_size": self.hidden,
                "intermediate_size": self.intermediate,
                "num_hidden_layers": self.layers,
                "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads,
                "vocab_size": self.vocab,
                "max_position_embeddings": self.context,
                "bos_token_id": 0,
                "eos_token_id": 1,
                "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
            }
        )


def main(
    target: Annotated[Path, typer.Argument(help="The folder of master weights to write.", metavar="OUT")],
    text: Annotated[list[Path], typer.Option(help="Text file to train on. May be repeated.", exists=True)],
    shape: Shape,
    start: Annotated[str | None, typer.Option(help="Train this model further. " + MODEL_HELP)] = None,
    masters: Annotated[
        bool, typer.Option("--masters", help="--start names float weights, such as those of an ordinary Llama.")
    ] = False,
    floats: Annotated[bool, typer.Option("--float", help="Quantise nothing: to compare, or for a warm start.")] = False,
    steps: Annotated[int, typer.Option(help="Number of optimiser steps.", min=1)] = 1000,
    batch: Annotated[int, typer.Option(help="Windows in a step.", min=1)] = 8,
    length: Annotated[int, typer.Option(help="Tokens in a window.", min=1)] = 128,
    rate: Annotated[float, typer.Option(help="Highest learning rate.", min=0)] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed of the first weights and of the order of the text.")] = 0,
    threads: Annotated[int, typer.Option(help="Number of CPU threads.", min=1)] = 1,
) -> None:
    """Train a BitNet with straight-through gradients, and write its master weights.

    Without --start, a new model of the given shape is trained, with a tokenizer of
    its own. With --start, that model and its tokenizer are used.

    Examples:
        python -m tools.train_bitnet masters --text book.txt --steps 2000
        python -m tools.train_bitnet tuned --start demo --text notes.txt --rate 3e-4
        bitnet-tt convert masters packed --to packed
        bitnet-tt self-test packed --against-torch
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    texts = [path.read_text(encoding="utf-8") for path in text]
    linear = FloatLinear if floats else TrainableBitLinear
    with exit_on_errors(), TemporaryDirectory() as folder:
        if start is None:
            module, tokenizer = BitNet(shape.config(), linear=linear), Path(folder)
            train_tokenizer(texts, shape.vocab, tokenizer)
        else:
            module, tokenizer = load_masters(start, linear=linear, masters=masters), resolve(start)
        ids = encode(texts, Tokenizer.from_path(tokenizer))
        losses: list[float] = []

        def report(done: int, loss: float) -> None:
            losses.append(loss)
            if done % max(1, steps // 20) == 0 or done == steps:
                typer.echo(f"step {done} of {steps}: loss {np.mean(losses[-50:]):.3f}")

        train(module, ids, Schedule(steps, batch, length, rate, seed), report)
        save_masters(module, target, tokenizer=tokenizer)
    typer.echo(f"Wrote {target}; next: bitnet-tt convert {target} PACKED --to packed")


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(expand(main))

if __name__ == "__main__":
    app(prog_name="python -m tools.train_bitnet")
