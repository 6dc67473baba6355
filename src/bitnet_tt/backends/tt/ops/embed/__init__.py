"""The embeddings of a decode step's tokens."""
