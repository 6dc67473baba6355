"""Our own device operations, one folder each: the host's `op.py` beside its kernels."""
