"""The host's part of a step: groups of fixed shape, their inputs, and the candidates that come back."""
