"""One file for each API. Each holds its request models, its routes, and the shape of its answers."""
