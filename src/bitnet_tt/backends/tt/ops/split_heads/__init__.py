"""Split the product of q, k and v into heads: scale and rotate them, and write k and v to the cache."""
