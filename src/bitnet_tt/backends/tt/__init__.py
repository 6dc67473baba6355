"""BitNet on Tenstorrent Blackhole cards through TT-NN.

Only this folder imports ttnn. Inside it, `planning`, `step.groups` and `step.candidates` do not.
"""
