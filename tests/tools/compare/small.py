"""The result of a peer, for the settings of `tests.bench.small.RESULT`."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.small import PROMPT, STEP
from tools.compare.peers import PeerResult

PEER = PeerResult(
    name="peer",
    version="1.2",
    format="TQ2_0",
    weight_bytes=800_000_000,
    load_s=1.0,
    peak_rss_bytes=900_000_000,
    prefill=replace(PROMPT, tokens_per_s=25.0, int8_share=None),
    decode=(replace(STEP, tokens_per_s=4.0, bandwidth_share=0.16),),
)
