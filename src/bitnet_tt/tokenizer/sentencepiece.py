"""Read a sentencepiece `tokenizer.model`, the format of 1bitLLM's checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer.bpe import sentencepiece_engine
from bitnet_tt.tokenizer.protobuf import Fields, read_fields

if TYPE_CHECKING:
    import tokenizers


class PieceType(IntEnum):
    """The types of pieces that sentencepiece_model.proto declares."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_SUPPORTED = {PieceType.NORMAL, PieceType.UNKNOWN, PieceType.CONTROL, PieceType.BYTE}
_MODEL_TYPES = {1: "UNIGRAM", 2: "BPE", 3: "WORD", 4: "CHAR"}


@dataclass(frozen=True, slots=True)
class _Declaration:
    """What a model file declares about itself. The defaults are those of sentencepiece_model.proto."""

    types: list[int]
    model_type: int
    normalization: str
    normalizes: bool
    denormalizes: bool
    space_prefix: bool
    removes_spaces: bool
    escapes_spaces: bool
    spaces_as_suffix: bool

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read the fields of the messages ModelProto, TrainerSpec and NormalizerSpec.

        Raises:
            ValueError: The data is not a message, or a field has another type.
        """
        model = read_fields(data)
        trainer, normalizer, denormalizer = (read_fields(_bytes(model, number)) for number in (2, 3, 5))
        pieces = [read_fields(piece) for piece in model.get(1, []) if isinstance(piece, bytes)]
        return cls(
            types=[_integer(piece, 3, default=PieceType.NORMAL) for piece in pieces],
            model_type=_integer(trainer, 3, default=1),
            normalization=_bytes(normalizer, 1).decode(),
            normalizes=bool(_bytes(normalizer, 2)),
            denormalizes=bool(_bytes(denormalizer, 2)),
            space_prefix=bool(_integer(normalizer, 3, default=1)),
            removes_spaces=bool(_integer(normalizer, 4, default=1)),
            escapes_spaces=bool(_integer(normalizer, 5, default=1)),
            spaces_as_suffix=bool(_integer(trainer, 24, default=0)),
        )


def build_engine(path: Path) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Build the engine of a BPE model without text normalisation.

    Returns:
        The engine, and its special tokens by use, such as `bos_token`.

    Raises:
        TokenizerError: The file is not a sentencepiece model, or it declares what is not supported; the message says
            what.
    """
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken

    try:
        model = SentencePieceProcessor(model_file=str(path))
        declaration = _Declaration.read(path.read_bytes())
    except (RuntimeError, ValueError) as error:
        raise TokenizerError(
            f"{path} is neither a tiktoken nor a sentencepiece vocabulary; download it again"
        ) from error
    ids = range(model.get_piece_size())
    pieces = [(model.id_to_piece(token_id), model.get_score(token_id)) for token_id in ids]
    normal = [token_id for token_id in ids if declaration.types[token_id] == PieceType.NORMAL]
    scores = [pieces[token_id][1] for token_id in normal if len(pieces[token_id][0]) > 1]
    fault = _fault(declaration, scores)
    if fault is not None:
        raise TokenizerError(
            f"{path}: {fault}; only sentencepiece models of type BPE without text normalisation are supported, so use "
            "a checkpoint with a tokenizer.json"
        )
    engine = sentencepiece_engine(
        pieces,
        normal,
        unknown=model.id_to_piece(model.unk_id()),
        byte_fallback=PieceType.BYTE in declaration.types,
        space_prefix=declaration.space_prefix,
    )
    control = [pieces[token_id][0] for token_id in ids if declaration.types[token_id] == PieceType.CONTROL]
    engine.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    uses = {"bos_token": model.bos_id(), "eos_token": model.eos_id(), "unk_token": model.unk_id()}
    return engine, {use: pieces[token_id][0] for use, token_id in uses.items() if token_id >= 0}


def _fault(declaration: _Declaration, scores: Sequence[float]) -> str | None:
    """Return what a model declares and our engine cannot do, or None.

    Args:
        declaration: What the model declares.
        scores: The scores of the pieces that come from merges.
    """
    unsupported = sorted(set(declaration.types) - _SUPPORTED)
    kind = _MODEL_TYPES.get(declaration.model_type, str(declaration.model_type))
    faults = {
        f"its type is {kind}": kind != "BPE",
        f"it normalises text ({declaration.normalization})": declaration.normalizes,
        "it changes text after decoding": declaration.denormalizes,
        "it removes extra spaces": declaration.removes_spaces,
        "it does not escape spaces": not declaration.escapes_spaces,
        "it puts spaces after words": declaration.spaces_as_suffix,
        f"it has pieces of type {', '.join(map(_type_name, unsupported))}": bool(unsupported),
        "several pieces have the same score": len(set(scores)) < len(scores),
    }
    return next((text for text, is_true in faults.items() if is_true), None)


def _type_name(kind: int) -> str:
    return PieceType(kind).name if kind in list(PieceType) else str(kind)


def _bytes(fields: Fields, number: int) -> bytes:
    value = fields.get(number, [b""])[-1]
    if not isinstance(value, bytes):
        raise ValueError(f"field {number} is an integer")
    return value


def _integer(fields: Fields, number: int, default: int) -> int:
    value = fields.get(number, [default])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {number} is not an integer")
    return value
