"""The errors users meet. Each message says what was wrong, where, and what to do about it."""


class BitNetError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(BitNetError, ValueError):
    """A config.json or a generation setting that cannot be used; the message names the field."""


class CheckpointError(BitNetError):
    """A model that cannot be found, read or trusted; the message names the file and the tensor."""


class TokenizerError(BitNetError):
    """A tokenizer or chat template that is missing, unreadable or unusable."""


class DeviceError(BitNetError):
    """A device that is not there or cannot run the model; the message says how to get it."""


class RequestError(BitNetError, ValueError):
    """A prompt the model cannot take: empty, too long, or with ids outside the vocabulary."""


class BenchmarkError(BitNetError):
    """A measurement that cannot be made; the message says which program, package or kind of model it needs."""
