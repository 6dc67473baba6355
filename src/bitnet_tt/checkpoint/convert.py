"""Convert a checkpoint to packed safetensors, which we read in place, or to I2_S GGUF, which bitnet.cpp reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bitnet_tt.checkpoint.checkpoint import Checkpoint
from bitnet_tt.checkpoint.save_gguf import save_gguf
from bitnet_tt.checkpoint.save_packed import save_packed
from bitnet_tt.formats.staging import prepare_target
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.tokenizer import Tokenizer
from bitnet_tt.tokenizer.gguf_saving import to_metadata

Format = Literal["packed", "gguf-i2s"]


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
        target: The folder (`packed`) or .gguf file (`gguf-i2s`) to write.
        to: The format.
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
