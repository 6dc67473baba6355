"""Turn logits into the next token."""

from bitnet_tt.sampling.constraint import Constraint
from bitnet_tt.sampling.filters import logit_filter
from bitnet_tt.sampling.logprobs import TokenLogprob, log_probabilities
from bitnet_tt.sampling.random import RandomNumbers
from bitnet_tt.sampling.sampler import sample
from bitnet_tt.sampling.text import Text

__all__ = ["Constraint", "RandomNumbers", "Text", "TokenLogprob", "log_probabilities", "logit_filter", "sample"]
