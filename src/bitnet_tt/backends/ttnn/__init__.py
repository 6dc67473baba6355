"""BitNet on Tenstorrent Blackhole through TT-NN. ttnn is imported in this folder only; `plan` and `groups` do without."""
