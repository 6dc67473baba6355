"""The CPU backend: the decoder in native code, exact, and the same to the last bit on every instruction set."""

from bitnet_tt.backends.cpu.backend import CPUBackend, PhaseTime, available_isas

__all__ = ["CPUBackend", "PhaseTime", "available_isas"]
