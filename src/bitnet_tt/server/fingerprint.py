"""The system fingerprint: equal fingerprints, requests and seeds give equal bytes, on any replica."""

from __future__ import annotations

import hashlib
import json

from bitnet_tt.model import BitNetModel

NUMERICS_VERSION = 3
"""Raise it with every change that changes a logit or a sampled token: of the numerics, sampling or random numbers."""


def system_fingerprint(model: BitNetModel) -> str:
    """Return a hash of everything that a result depends on, the request apart.

    These are the weights, the tokenizer with its chat templates, the context length, the kind of device and the version
    of the numerics. Threads, instruction set and batch change no result, so they are not part of it.
    """
    digest = hashlib.sha256()
    tokenizer, options = model.tokenizer, model.options
    facts = {
        "numerics": NUMERICS_VERSION,
        "context_length": model.engine.context_length,
        "device": options.resolved_device,
        "precision": options.precision if options.resolved_device == "tt" else "exact",
        "masters": model.checkpoint.masters,
        "config": repr(model.config),
        "pooling": model.checkpoint.pooling,
        "tokenizer": tokenizer.engine.to_str(),
        "bos": tokenizer.bos_token,
        "eos": tokenizer.eos_tokens,
        "chat_templates": tokenizer.chat_templates,
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    adapter = model.checkpoint.adapter
    paths = [one.path for one in model.checkpoint.files] + ([] if adapter is None else [adapter.weights])
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"fp_{digest.hexdigest()[:16]}"
