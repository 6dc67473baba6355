"""The final norm, the lm_head and the largest logits, in one program."""
