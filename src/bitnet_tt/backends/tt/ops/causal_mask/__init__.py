"""The causal attention mask of a step."""
