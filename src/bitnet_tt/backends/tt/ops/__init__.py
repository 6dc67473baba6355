"""Our own device operations. Each has a folder with `op.py`, the host half, beside its kernels.

`common/` has what they share: the launch of a program, the forms of rows, and headers for kernels.
"""
