"""`bitnet-tt info`: the shapes, bytes, tokenizer and files of a model, and estimates of its energy."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_tt.cli.options import MODEL_HELP, HubOptions
from bitnet_tt.cli.output import describe_bytes, dump_json, print_table
from bitnet_tt.errors import TokenizerError

if TYPE_CHECKING:
    from bitnet_tt.config import ModelConfig, QuantizationConfig
    from bitnet_tt.tokenizer import Tokenizer


def info(
    hub: HubOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    energy: Annotated[
        bool,
        typer.Option(
            "--energy",
            help="Estimate the energy of 512 tokens from the shapes, with the formula that 2B4T's authors published; "
            "nothing is measured.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a model's shapes, size in memory and in FP16, tokenizer and files.

    This reads only the headers of the files, so large models are quick too.

    Examples:
        bitnet-tt info
        bitnet-tt info microsoft/bitnet-b1.58-2B-4T --json
        bitnet-tt info demo --energy
    """
    from bitnet_tt.checkpoint import Checkpoint
    from bitnet_tt.tokenizer import Tokenizer

    path = hub.resolve(model)
    checkpoint = Checkpoint.open(path)
    try:
        tokenizer = describe_tokenizer(Tokenizer.from_path(path))
    except TokenizerError as error:
        tokenizer = {"error": str(error)}
    facts: dict[str, Any] = {
        "model": model,
        "family": checkpoint.family,
        "format": checkpoint.format,
        "files": [{"path": str(file.path), "bytes": file.size} for file in checkpoint.files],
        "config": asdict(checkpoint.config),
        "memory": size_of_parts(checkpoint.config),
        "tokenizer": tokenizer,
        "notes": checkpoint.notes,
    }
    if energy:
        from bitnet_tt.bench.energy_estimate import estimate_energy

        facts["energy_estimate"] = asdict(estimate_energy(checkpoint.config, _weight_bytes_read(facts["memory"])))
    if as_json:
        typer.echo(dump_json(facts, indent=2))
        return
    _print(facts, checkpoint.config)
    if energy:
        _print_energy(facts["energy_estimate"])


def size_of_parts(config: ModelConfig) -> dict[str, Any]:
    """Return the number of parameters of each part, its bytes in memory, and its bytes in FP16."""
    shapes = config.linear_shapes
    layers = config.num_hidden_layers
    ternary = config.ternary_weights
    norms = sum(config.norm_sizes.values())
    if config.quantization.use_rms_norm:
        norms += sum(columns for _, columns in shapes.values())
    norms = layers * norms + config.hidden_size
    vocabulary = (config.vocab_size, config.hidden_size)
    embedding, quantization = math.prod(vocabulary), config.quantization
    head = 0 if config.tie_word_embeddings else embedding
    linears = sum(_matrix_bytes(shape, quantization.group_size) for shape in shapes.values())
    ternary_table = _matrix_bytes(vocabulary, quantization.group_size)
    parts = {
        "ternary": {"parameters": ternary, "bytes": layers * linears},
        "embedding": {
            "parameters": embedding,
            "bytes": ternary_table if quantization.ternary_embedding else 2 * embedding,
        },
        "head": {"parameters": head, "bytes": ternary_table if quantization.ternary_head and head else 2 * head},
        "norms": {"parameters": norms, "bytes": 4 * norms},
    }
    total = {key: sum(part[key] for part in parts.values()) for key in ("parameters", "bytes")}
    for part in (*parts.values(), total):
        part["fp16_bytes"] = 2 * part["parameters"]
    linear = parts["ternary"]
    return {
        **parts,
        "total": total,
        "bits_per_ternary_weight": 8 * linear["bytes"] / linear["parameters"],
        "fp16_ratio": total["fp16_bytes"] / total["bytes"],
        "fp16_ratio_linear": linear["fp16_bytes"] / linear["bytes"],
    }


def _matrix_bytes(shape: tuple[int, int], group: int | None) -> int:
    """Return the bytes of a ternary matrix [out, in] with its scales: one float32, or a float16 for each group."""
    from bitnet_tt.weights import grouped_shape

    return math.prod(shape) // 4 + 4 if group is None else math.prod(grouped_shape(*shape, group))


def _weight_bytes_read(memory: dict[str, Any]) -> int:
    """Return the bytes of weights that a token reads: all, except an embedding that is not the lm_head too."""
    separate = memory["head"]["bytes"] > 0
    return int(memory["total"]["bytes"] - (memory["embedding"]["bytes"] if separate else 0))


def describe_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the tokenizer's size and rules, and an example: a greeting in its chat template."""
    try:
        example = tokenizer.render_chat([{"role": "user", "content": "Hello"}])
    except TokenizerError:
        example = None
    return {
        "vocab_size": tokenizer.vocab_size,
        "kind": "byte-level BPE" if tokenizer.token_bytes.byte_level else "sentencepiece BPE",
        "bos_token": tokenizer.bos_token,
        "eos_tokens": list(tokenizer.eos_tokens),
        "add_bos": tokenizer.add_bos,
        "chat_templates": tokenizer.chat_templates,
        "chat_example": example,
    }


def _print(facts: dict[str, Any], config: ModelConfig) -> None:
    print_table(["", ""], [(f"{name}:", value) for name, value in _rows(facts, config)])
    typer.echo()
    memory = facts["memory"]
    names = {"ternary": "ternary weights", "embedding": "embedding", "head": "lm_head", "norms": "norms"}
    if config.tie_word_embeddings:
        names["head"] += " (tied)"
    names["total"] = "total"
    print_table(
        ["Part", "Parameters", "In memory", "In FP16"],
        [
            (label, f"{part['parameters']:,}", describe_bytes(part["bytes"]), describe_bytes(part["fp16_bytes"]))
            for label, part in ((label, memory[name]) for name, label in names.items())
        ],
        right=(1, 2, 3),
    )
    typer.echo(
        f"\n{memory['bits_per_ternary_weight']:.3f} bits per ternary weight: {memory['fp16_ratio_linear']:.2f} times "
        f"smaller than FP16 in the linear\nlayers, {memory['fp16_ratio']:.2f} times smaller overall."
    )


def _describe_weights(quantization: QuantizationConfig) -> str:
    group = quantization.group_size
    if group is None:
        return f"{quantization.quantization_mode}, {quantization.linear_class}"
    tables = {"embedding": quantization.ternary_embedding, "lm_head": quantization.ternary_head}
    ternary = " and ".join(name for name, is_ternary in tables.items() if is_ternary)
    return f"one scale for each {group} weights" + (f", {ternary} ternary too" if ternary else "")


_ENERGY_ROWS = {
    "ternary_joules_per_512_tokens": "arithmetic of the ternary linears, J per 512 tokens",
    "attention_joules_per_512_tokens": "arithmetic of attention, J per 512 tokens",
    "paper_joules_per_512_tokens": "sum of both, the paper's figure, J per 512 tokens",
    "paper_joules_per_token": "sum of both, the paper's figure, J per token",
    "paper_fp16_joules_per_512_tokens": "the same sum in FP16, J per 512 tokens",
    "fp16_ratio": "FP16 divided by ternary, ratio",
    "lm_head_joules_per_512_tokens": "arithmetic of the lm_head, not in the sum, J per 512 tokens",
    "memory_joules_per_512_tokens": "memory reads, not in the sum, J per 512 tokens",
    "memory_joules_per_token": "memory reads, not in the sum, J per token",
}
"""What each estimate of `EnergyEstimate` is, with its unit."""


def _print_energy(estimate: dict[str, Any]) -> None:
    """Print the estimates as a table, and below it the formula, the coefficients and their sources."""
    typer.echo("\nEnergy of 512 tokens, generated one by one: estimates, nothing is measured\n")
    rows = [(f"estimate: {label}", _three_digits(estimate[name])) for name, label in _ENERGY_ROWS.items()]
    print_table(["", ""], rows, right=(1,))
    text = (
        "The sum is the formula of arXiv 2504.12285: arithmetic at 7 nm, without lm_head and memory. "
        f"{estimate['int8_add_picojoules']} pJ for each ternary weight (an int8 addition), "
        f"{estimate['fp16_multiply_add_picojoules']} pJ for each FP16 multiplication and addition. Memory: each token "
        f"reads {describe_bytes(estimate['weight_bytes_per_token'])} of weights, and "
        f"{describe_bytes(estimate['kv_cache_bytes_per_token'])} of keys and values (512 positions, float32), at "
        f"{_three_digits(estimate['dram_read_picojoules_per_bit'])} pJ per bit (DRAM, 1.3 nJ per 64 bits: Horowitz, "
        "ISSCC 2014), as if no cache held any of it."
    )
    typer.echo(f"\n{textwrap.fill(text, 80)}")


def _three_digits(value: float) -> str:
    """Format a number with three significant digits, such as `0.0280` or `104`."""
    return f"{value:#.3g}".rstrip(".")


def _rows(facts: dict[str, Any], config: ModelConfig) -> list[tuple[str, str]]:
    heads = f"{config.num_attention_heads} query heads of {config.head_dim}, {config.num_key_value_heads} KV heads"
    sizes = f"hidden size {config.hidden_size}, feed-forward {config.intermediate_size}"
    quantization = config.quantization
    parts = len(facts["files"])
    norms = ", with sub-norms" if config.sub_norms else ", with norms of queries and keys" if config.qk_norms else ""
    scaling = config.rope_scaling
    positions = "" if scaling is None else f", {scaling.rope_type} positions scaled by {scaling.factor:g}"
    split = f", split into {parts} files" if parts > 1 else ""
    rows = [
        ("Model", facts["model"]),
        ("Family", f"{facts['family']}, {facts['format']}{split}"),
        ("Layers", f"{config.num_hidden_layers}, {sizes}"),
        ("Attention", heads),
        ("Activation", config.hidden_act + norms),
        ("Context", f"{config.max_position_embeddings} tokens{positions}"),
        ("Weights", _describe_weights(quantization)),
    ]
    tokenizer = facts["tokenizer"]
    if "error" in tokenizer:
        rows.append(("Tokenizer", f"error: {tokenizer['error']}"))
    else:
        rows += [
            ("Tokenizer", f"{tokenizer['kind']}, {tokenizer['vocab_size']} tokens; the model has {config.vocab_size}"),
            ("Begins with", tokenizer["bos_token"] if tokenizer["add_bos"] else "nothing"),
            ("Ends with", ", ".join(tokenizer["eos_tokens"]) or "nothing"),
            ("Chat", repr(tokenizer["chat_example"]) if tokenizer["chat_example"] else "no template"),
        ]
    rows += [("File", f"{file['path']} ({describe_bytes(file['bytes'])})") for file in facts["files"]]
    return rows + [("Note", note) for note in facts["notes"]]
