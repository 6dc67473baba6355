"""Ternary weights as a tensor for TT-NN's matrix product."""
