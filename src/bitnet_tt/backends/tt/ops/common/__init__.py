"""Parts that several operations share: the launch of a program, and headers of kernels."""
