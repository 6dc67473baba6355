"""The plan of 2B4T on the smallest grid of a p150, which the tests of this folder use."""

from __future__ import annotations

from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.config import ModelConfig
from tests.test_config import BITNET_2B4T

CONFIG_2B4T = ModelConfig.from_dict(BITNET_2B4T)
PLAN_2B4T = Plan(CONFIG_2B4T, SMALLEST_P150, "fast", 4096)
