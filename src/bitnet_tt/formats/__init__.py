"""File formats that hold tensors, GGUF and safetensors: read, write, and replace files safely."""
