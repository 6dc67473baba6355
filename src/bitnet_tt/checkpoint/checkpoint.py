"""Checkpoint: a model on disk. `load_weights` reads the weights.

Opening it reads the headers, and a stored lm_head only if the config says that the embedding takes its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint import families
from bitnet_tt.checkpoint.adapter import AdapterFiles
from bitnet_tt.checkpoint.assemble import IGNORED_ENDINGS, Assembler
from bitnet_tt.checkpoint.config_files import CONFIG_SETTINGS, parse_config, read_config
from bitnet_tt.checkpoint.floats import to_float32
from bitnet_tt.checkpoint.gguf_config import GGUF_SETTINGS, detect_family, hidden_act_note, parse_gguf_config
from bitnet_tt.checkpoint.gguf_names import canonical_tensors, gguf_name
from bitnet_tt.checkpoint.grouped import GROUPS_NOTE, find_ordinary_group, stored_group, with_groups
from bitnet_tt.checkpoint.loading import LoadingWeights, WeightChecks
from bitnet_tt.checkpoint.masters import announce_masters
from bitnet_tt.checkpoint.names import LM_HEAD
from bitnet_tt.checkpoint.own_head import OWN_HEAD_NOTE, has_own_head
from bitnet_tt.checkpoint.pooling import Pooling, gguf_pooling, read_pooling
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats import gguf, safetensors
from bitnet_tt.formats.tensor import Progress, StoredTensor
from bitnet_tt.mapped import MappedFile
from bitnet_tt.tokenizer.gguf_templates import template_note
from bitnet_tt.weights import ModelWeights


class CheckpointFile(NamedTuple):
    """A file that holds weights, and its size in bytes."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on disk whose headers are read and checked.

    Attributes:
        path: The folder (safetensors) or the file (GGUF; of a split model, any of its parts).
        format: The format of the files that hold the weights.
        family: The name of its family in `families.FAMILIES`.
        config: Its configuration; `eos_token_ids` include the ids of generation_config.json, and `tie_word_embeddings`
            is false if an lm_head is stored that differs from the embedding.
        pooling: Which hidden state of a text is its embedding; None if the model writes text instead.
        files: The files that hold the weights.
        masters: Whether it was opened with `masters=True`.
        adapter: The low-rank adapter that `load_weights` adds; None without one.
        notes: What users should know, such as an embedding that had to be rounded. `load_weights` adds to the list.
    """

    path: Path
    format: Literal["safetensors", "gguf"]
    family: str
    config: ModelConfig
    files: tuple[CheckpointFile, ...]
    pooling: Pooling | None = None
    masters: bool = False
    adapter: AdapterFiles | None = None
    notes: list[str] = field(default_factory=list)
    _tensors: Mapping[str, StoredTensor] = field(default_factory=dict, repr=False)
    _rotary_pairs: bool = False

    @classmethod
    def open(cls, path: Path, *, masters: bool = False, adapter: Path | None = None) -> Self:
        """Read the config and the headers of a checkpoint. A stored lm_head that should be tied is read too.

        Args:
            path: A folder with config.json and safetensors, or a .gguf file, which may be a part of a split model.
            masters: The weights are master weights, although config.json does not say so.
            adapter: The folder of a low-rank adapter in PEFT's format, to run the model with.

        Raises:
            CheckpointError: The path holds no checkpoint, a damaged one, or one of an unknown family; or `masters` is
                true, but the weights are quantised already; or the adapter cannot be used.
            ConfigError: A field of config.json or of the GGUF metadata cannot be used.
        """
        if path.is_dir():
            checkpoint = cls._open_folder(path, masters=masters)
        elif masters:
            raise CheckpointError(f"{path} is GGUF, which holds no master weights; leave out masters=True (--masters)")
        else:
            checkpoint = cls._open_gguf(path)
        if adapter is None:
            return checkpoint
        canonical = families.named(checkpoint.family).canonical
        return dataclasses.replace(checkpoint, adapter=AdapterFiles.open(adapter, checkpoint.config, canonical))

    @classmethod
    def _open_folder(cls, path: Path, *, masters: bool) -> Self:
        data = read_config(path)
        tensors = safetensors.read_folder(path)
        if masters:
            data = announce_masters(data, tensors)
        group = find_ordinary_group(data, tensors)
        family = families.TERNARY_BONSAI if group else families.detect(str(path), data, tensors)
        config = with_groups(parse_config(path / "config.json", family.complete(data)), group)
        canonical = {family.canonical(name): tensor for name, tensor in tensors.items()}
        own_head = config.tie_word_embeddings and has_own_head(config, canonical)
        return cls(
            path=path,
            format="safetensors",
            family=family.name,
            config=dataclasses.replace(config, tie_word_embeddings=config.tie_word_embeddings and not own_head),
            files=_files(tensor.file for tensor in tensors.values()),
            pooling=read_pooling(path) or family.pooling,
            masters=masters,
            notes=[OWN_HEAD_NOTE] * own_head + [GROUPS_NOTE] * (group is not None),
            _tensors=canonical,
        )

    @classmethod
    def _open_gguf(cls, path: Path) -> Self:
        file = gguf.read(path)
        family = detect_family(path, file.metadata)
        tensors = canonical_tensors(file.tensors)
        config = parse_gguf_config(path, file, family)
        group = stored_group(str(path), config, tensors)
        return cls(
            path=path,
            format="gguf",
            family=families.TERNARY_BONSAI.name if group else family.name,
            config=with_groups(config, group, tensors),
            files=_files(file.files),
            pooling=gguf_pooling(file.metadata),
            notes=[
                *hidden_act_note(file.metadata),
                *template_note(file.metadata),
                *[GROUPS_NOTE] * (group is not None),
            ],
            _tensors=tensors,
            _rotary_pairs=family.gguf_rotary_pairs,
        )

    def load_weights(self, progress: Progress | None = None) -> ModelWeights:
        """Load, decode and check all weights. Packed ones are not copied: they are views of the mapped file.

        Args:
            progress: Called with the bytes done and the bytes in all, now and then.

        Raises:
            CheckpointError: A tensor is missing, unexpected, of the wrong shape, or damaged; the message names it.
        """
        with self.begin_loading(progress) as loading:
            return loading.result()

    def begin_loading(self, progress: Progress | None = None) -> LoadingWeights:
        """Do what `load_weights` does, but return while packed weights that stay in their file are still checked.

            with checkpoint.begin_loading() as loading:
                ...  # something else
                weights = loading.result()

        Raises:
            CheckpointError: As for `load_weights`; `result` raises those of the checks.
        """
        in_gguf = self.format == "gguf"
        notes: list[str] = []
        checks = WeightChecks(progress, sum(tensor.size for tensor in self._tensors.values()))
        assembler = Assembler(
            where=str(self.path),
            config=self.config,
            tensors=self._tensors,
            settings=GGUF_SETTINGS if in_gguf else CONFIG_SETTINGS,
            stored_name=gguf_name if in_gguf else str,
            rotary_pairs=self._rotary_pairs,
            checks=checks,
            notes=notes,
        )
        with np.errstate(over="ignore", invalid="ignore"):  # the checks find what overflows and name the tensor
            weights = assembler.model()
        self.notes.extend(note for note in notes if note not in self.notes)  # the weights may be loaded twice
        return LoadingWeights(weights if self.adapter is None else self.adapter.add_to(weights), checks)

    @property
    def holds_masters(self) -> bool:
        """Whether the weights are master weights, which `load_weights` quantises."""
        return self.format == "safetensors" and self.config.quantization.quantization_mode == "online"

    def load_masters(self) -> dict[str, NDArray[np.float32]]:
        """Decode every tensor of master weights to float32, for training. `load_weights` checks them.

        Returns:
            The tensors by canonical name; no lm_head if it is tied.

        Raises:
            CheckpointError: The weights are quantised already.
        """
        if not self.holds_masters:
            raise CheckpointError(f"{self.path} holds quantised weights, not master weights; use load_weights")
        return {
            name: to_float32(tensor)
            for name, tensor in self._tensors.items()
            if not name.endswith(IGNORED_ENDINGS) and not (name == LM_HEAD and self.config.tie_word_embeddings)
        }


def _files(files: Iterable[MappedFile]) -> tuple[CheckpointFile, ...]:
    sizes = {file.path: file.size for file in files}
    return tuple(CheckpointFile(path, size) for path, size in sorted(sizes.items()))
