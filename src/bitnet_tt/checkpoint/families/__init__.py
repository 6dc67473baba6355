"""The model families that can be read."""

from bitnet_tt.checkpoint.families.family import FAMILIES, Family, detect, detect_gguf

__all__ = ["FAMILIES", "Family", "detect", "detect_gguf"]
