"""File formats that hold tensors (GGUF, safetensors): read them, write them, and replace files safely."""
