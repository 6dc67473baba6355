"""The CPU backend: the decoder in native code. Logits are the same bits on every instruction set."""
