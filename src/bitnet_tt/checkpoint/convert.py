"""Convert a checkpoint to packed safetensors, which we read in place, or to GGUF, which other runtimes read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bitnet_tt.checkpoint.checkpoint import Checkpoint
from bitnet_tt.checkpoint.save_gguf import save_gguf
from bitnet_tt.checkpoint.save_packed import save_packed
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.staging import prepare_target
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.tokenizer import Tokenizer
from bitnet_tt.tokenizer.gguf_saving import to_metadata

Format = Literal["packed", "gguf-i2s", "gguf-q2_0"]


def convert(
    source: Path,
    target: Path,
    to: Format,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    masters: bool = False,
) -> list[str]:
    """Read and check a checkpoint of any supported kind, and write it in another format, with its tokenizer.

    Codes and scales stay bit for bit the same. The target appears complete or not at all.

    Args:
        source: A folder or .gguf file, as `resolve` returns it.
        target: The folder (`packed`) or .gguf file to write.
        to: The format: `gguf-q2_0` for weights with a scale for each group, the other two for weights with one scale.
        progress: Called with (done, total). Reading is the first half, writing the second.
        overwrite: Replace an existing target.
        masters: The source holds master weights, although its config.json does not say so.

    Returns:
        Notes for the user, such as an embedding that had to be rounded.

    Raises:
        CheckpointError: The source is damaged, the target exists or cannot be written, or the format cannot hold it.
        TokenizerError: The source has no usable tokenizer, and the target is GGUF, which needs one.
    """
    prepare_target(target, overwrite=overwrite)
    checkpoint = Checkpoint.open(source, masters=masters)
    config = checkpoint.config
    if (to == "gguf-q2_0") != (config.quantization.group_size is not None):
        one = (
            "gguf-q2_0 has scales for groups of weights" if to == "gguf-q2_0" else f"{to} has one scale for each matrix"
        )
        other = "packed or gguf-i2s" if to == "gguf-q2_0" else "gguf-q2_0"
        raise CheckpointError(f"{one}, and {source} has not; convert it to {other}")
    total = sum(file.size for file in checkpoint.files)

    def reading(done: int, of: int) -> None:
        if progress is not None:
            progress(total * done // (2 * of), total)

    def writing(done: int, of: int) -> None:
        if progress is not None:
            progress((total + total * done // of) // 2, total)

    weights = checkpoint.load_weights(reading)
    if to == "packed":
        save_packed(
            config,
            weights,
            target,
            tokenizer=source,
            pooling=checkpoint.pooling,
            progress=writing,
            overwrite=overwrite,
        )
    else:
        tokenizer = to_metadata(Tokenizer.from_path(source), config.vocab_size)
        save_gguf(
            config,
            weights,
            target,
            tokenizer_metadata=tokenizer,
            pooling=checkpoint.pooling,
            progress=writing,
            overwrite=overwrite,
        )
    return checkpoint.notes
