"""How a model lies on a Tenstorrent card, in shapes, bytes and launches. Imports no ttnn."""
