"""Turn off the log of ttnn, which reports every program. ttnn reads the setting when it is imported."""

import os

os.environ.setdefault("TT_LOGGER_LEVEL", "OFF")
