"""The host's part of a step: fixed-shape groups of rows, their inputs, and the candidates that come back."""
