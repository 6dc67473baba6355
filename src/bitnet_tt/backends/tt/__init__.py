"""BitNet on Tenstorrent Blackhole through TT-NN. Only this folder imports ttnn, and here `plan` and `groups` do not."""
