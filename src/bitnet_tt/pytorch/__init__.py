"""BitNet b1.58 as a plain `torch.nn.Module`: to read, to export, to compile (TT-Forge) and to train.

It needs the extra `torch`. `bitlinear` is the linear layer, `layer` and `decoder` are the model, `load` reads any
checkpoint into it. The numerics are those of docs/numerics.md: the integers are the same as on every other backend.
"""

import importlib.util

from bitnet_tt.errors import MissingExtraError

if importlib.util.find_spec("torch") is None:
    raise MissingExtraError(
        "bitnet_tt.pytorch needs the extra `torch`: run `uv sync --extra torch` where bitnet-tt was cloned, or "
        "`pip install 'bitnet-tt[torch]'`"
    )

from bitnet_tt.pytorch.bitlinear import BitLinear, FloatLinear, TrainableBitLinear
from bitnet_tt.pytorch.decoder import BitNet
from bitnet_tt.pytorch.generate import generate, logits

__all__ = ["BitLinear", "BitNet", "FloatLinear", "TrainableBitLinear", "generate", "logits"]
