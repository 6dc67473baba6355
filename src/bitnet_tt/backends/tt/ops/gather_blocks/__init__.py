"""Copy the blocks of the paged KV cache that attention reads into two tensors."""
