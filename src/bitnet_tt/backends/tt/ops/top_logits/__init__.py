"""The greatest logits of each part of the vocabulary."""
