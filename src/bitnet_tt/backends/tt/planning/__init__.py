"""The shapes, bytes, launches and costs of a model on a Tenstorrent card. Nothing here imports ttnn."""
