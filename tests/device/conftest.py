"""ttnn logs every program it makes, unless told otherwise before it is imported."""

import os

os.environ.setdefault("TT_LOGGER_LEVEL", "OFF")
