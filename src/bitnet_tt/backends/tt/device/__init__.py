"""The card itself: opening it, traces, weights as tiles, and settings of the matrix engine."""
