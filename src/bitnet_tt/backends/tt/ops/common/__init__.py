"""What several operations share: how a program is launched, and headers of kernels."""
