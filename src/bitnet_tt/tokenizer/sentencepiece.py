"""Read a sentencepiece `tokenizer.model`, the format of 1bitLLM's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer.bpe import SPACE, sentencepiece_engine

if TYPE_CHECKING:
    import tokenizers

# Models with a normaliser, a whitespace rule or a type that we do not support encode this text differently than our
# engine does.
_PROBE = " a  b\tc ﬁ ①ﾊﾝｶｸ e\u0301 Ａ\u00a0ß\u200d🙂 the  quick brown fox, 12345! "


def build_engine(path: Path) -> tuple[tokenizers.Tokenizer, str | None, str | None]:
    """Build the engine of a BPE model without text normalisation.

    Returns:
        The engine, its beginning-of-text token and its end-of-text token.

    Raises:
        TokenizerError: The file is not a sentencepiece model, or its model type or normalisation is not supported.
    """
    import sentencepiece
    from tokenizers import AddedToken

    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise TokenizerError(
            f"{path} is neither a tiktoken nor a sentencepiece vocabulary; download it again"
        ) from error
    ids = range(model.get_piece_size())
    pieces = [(model.id_to_piece(token_id), model.get_score(token_id)) for token_id in ids]
    control = [piece for token_id, (piece, _) in zip(ids, pieces, strict=True) if model.is_control(token_id)]
    byte_fallback = any(map(model.is_byte, ids))
    not_mergeable = (model.is_control, model.is_unknown, model.is_byte, model.is_unused)
    engine = sentencepiece_engine(
        pieces,
        [token_id for token_id in ids if not any(test(token_id) for test in not_mergeable)],
        unknown=model.id_to_piece(model.unk_id()),
        byte_fallback=byte_fallback,
        space_prefix=model.normalize("a").startswith(SPACE),
    )
    if engine.encode(_PROBE, add_special_tokens=False).ids != model.encode(_PROBE):
        raise TokenizerError(
            f"{path}: only sentencepiece models of type BPE without text normalisation are supported; "
            "use a checkpoint with a tokenizer.json"
        )
    engine.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    bos, eos = (pieces[token_id][0] if token_id >= 0 else None for token_id in (model.bos_id(), model.eos_id()))
    return engine, bos, eos
