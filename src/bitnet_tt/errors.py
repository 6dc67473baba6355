"""The errors of this package. Each message says what was wrong, where, and what to do about it."""


class BitNetError(Exception):
    """The base of every error that this package raises on purpose."""


class ConfigError(BitNetError, ValueError):
    """A field of config.json or a setting cannot be used; the message names it."""


class CheckpointError(BitNetError):
    """A model cannot be found, read or trusted; the message names the file and the tensor."""


class TokenizerError(BitNetError):
    """A tokenizer or a chat template is missing or cannot be used."""


class DeviceError(BitNetError):
    """A device is missing, closed, or cannot run the model; the message says what to do."""


class RequestError(BitNetError, ValueError):
    """A prompt, text or chat cannot be computed; the message says why, such as ids outside the vocabulary."""


class QueueFullError(BitNetError):
    """Too many requests wait already; send this one again later."""


class DrainingError(BitNetError):
    """The model takes no new requests, because it will be closed when the running ones have ended."""


class BenchmarkError(BitNetError):
    """A measurement cannot be made; the message says which program, package or kind of model it needs."""


class MissingExtraError(BitNetError, ImportError):
    """A package of an optional part is not installed; the message names the extra that brings it."""


class ExportError(BitNetError):
    """A model cannot be converted to a format of compilers; the message has the reason."""
