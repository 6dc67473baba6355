"""Devices that turn a batch of tokens into logits."""
