"""Write what TT-Forge's compiler must know of a card: a Blackhole p150. No card is needed.

python -m tests.forge.describe_card TARGET

The plugin writes the description for itself when it opens a card, here one of its mock mode, and deletes it at the end.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import jax

if __name__ == "__main__":
    jax.devices("tt")
    shutil.copy(Path(tempfile.gettempdir()) / "tt_pjrt_system_descriptor", sys.argv[1])
