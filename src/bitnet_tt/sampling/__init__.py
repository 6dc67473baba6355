"""From logits to the next token."""

from bitnet_tt.sampling.sampler import RandomStream, TokenLogprob, log_probabilities, logit_filter, sample

__all__ = ["RandomStream", "TokenLogprob", "log_probabilities", "logit_filter", "sample"]
