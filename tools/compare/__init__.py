"""Measure BitNet-TT and llama.cpp on the same model; see README.md in this folder."""
