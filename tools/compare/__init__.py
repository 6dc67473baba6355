"""Measure BitNet-TT and llama.cpp on the same model; see the README beside this file."""
