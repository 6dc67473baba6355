"""Residual or gate, RMSNorm and absmax quantisation of rows, as one program."""
