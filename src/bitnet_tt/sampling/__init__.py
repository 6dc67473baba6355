"""From logits to the next token."""

from bitnet_tt.sampling.sampler import RandomStream, TokenLogprob, cut, log_probabilities, sample

__all__ = ["RandomStream", "TokenLogprob", "cut", "log_probabilities", "sample"]
