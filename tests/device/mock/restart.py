"""Start a model several times over one cache of converted weights. Print its files and how many were converted."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import ttnn

from bitnet_tt.backends.tt.backend import TTBackend
from bitnet_tt.backends.tt.device import weights
from bitnet_tt.config import ModelConfig
from tests.device.mock.model import empty_model


def main(config_json: str) -> None:
    config = ModelConfig.from_dict(json.loads(config_json))
    ttnn.CONFIG.model_cache_path = Path(tempfile.mkdtemp(dir=ttnn.CONFIG.model_cache_path.parent))
    folder = Path(ttnn.CONFIG.model_cache_path) / "bitnet-tt"
    converted = [_start(config)]
    first = _files(folder)
    converted.append(_start(config))
    second = _files(folder)
    victim = next(folder.iterdir())
    victim.write_bytes(victim.read_bytes()[:700])
    converted.append(_start(config))
    after_damage = _files(folder)
    ttnn.CONFIG.model_cache_path = Path("/dev/null")
    facts = {"first": first, "second": second, "after_damage": after_damage, "converted": converted}
    print(json.dumps(facts | {"unwritable": _start(config)}))


def _start(config: ModelConfig) -> int:
    """Load and close; return how many tensors were converted."""
    with mock.patch.object(weights, "save_tensor", wraps=weights.save_tensor) as save:
        TTBackend(config, empty_model(config), context_length=64).close()
    return save.call_count


def _files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


if __name__ == "__main__":
    main(*sys.argv[1:])
