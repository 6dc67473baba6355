"""Measure a model on this machine: speed, memory, energy, and the limits of the machine."""
