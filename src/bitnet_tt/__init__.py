"""BitNet b1.58 language models on the CPU, exactly, and on Tenstorrent Blackhole."""

from bitnet_tt.config import GenerationConfig, ModelConfig
from bitnet_tt.errors import BitNetError
from bitnet_tt.model import BitNetModel

__all__ = ["BitNetError", "BitNetModel", "GenerationConfig", "ModelConfig"]
