"""Scales and rotates q, k and v, and writes k and v to the cache, as one program."""
