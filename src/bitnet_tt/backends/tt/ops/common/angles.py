"""The rotary tables on the card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.rope import rope_tables


@dataclass(frozen=True, slots=True)
class Angles:
    """The rotary tables of every position, float32 [context, head_dim], row-major. See `rotate.hpp`.

    Attributes:
        cosines: The cosines of head_dim / 2 angles, twice.
        signed_sines: The sines of the same angles, twice, the first half negated.
    """

    cosines: ttnn.Tensor
    signed_sines: ttnn.Tensor

    @classmethod
    def load(cls, card: Card, plan: Plan) -> Angles:
        """Compute the tables up to the plan's context length and put them on the card."""
        cos, sin = rope_tables(plan.config, plan.context_length)
        return cls(
            card.rows(np.concatenate([cos, cos], axis=1), ttnn.float32),
            card.rows(np.concatenate([-sin, sin], axis=1), ttnn.float32),
        )
