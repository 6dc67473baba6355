"""Attention of the rows of a step over the paged KV cache, in float32."""
