"""Parts that several operations share: the launch of a program, the forms of rows, and headers for kernels."""
