"""Find the largest logits of each part of the vocabulary."""
