"""API keys: only their hashes are kept, and they are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from bitnet_tt.errors import ConfigError

_HASH_LINE = re.compile(r"sha256:([0-9a-fA-F]{64})")
_MIN_KEY_LENGTH = 8


class ApiKeys:
    """The keys of a server, as SHA-256 hashes.

    Args:
        digests: The SHA-256 hash of each key.
    """

    def __init__(self, digests: Iterable[bytes]) -> None:
        self._digests = tuple(dict.fromkeys(digests))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a file of keys: one a line, either the key itself or `sha256:` and its hash in hexadecimal digits.

        Empty lines, and lines that begin with `#`, say nothing.

        Raises:
            ConfigError: The file cannot be read, has no key, or has a key that is too short.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"--api-key-file {path}: {reason}") from error
        digests = []
        for number, line in enumerate(map(str.strip, lines), start=1):
            if not line or line.startswith("#"):
                continue
            if hashed := _HASH_LINE.fullmatch(line):
                digests.append(bytes.fromhex(hashed[1]))
            elif line.startswith("sha256:"):
                raise ConfigError(f"--api-key-file {path}, line {number}: sha256: needs 64 hexadecimal digits after it")
            elif len(line) < _MIN_KEY_LENGTH:
                raise ConfigError(
                    f"--api-key-file {path}, line {number}: the key has fewer than {_MIN_KEY_LENGTH} characters"
                )
            else:
                digests.append(hashlib.sha256(line.encode()).digest())
        if not digests:
            raise ConfigError(f"--api-key-file {path} has no key; write one a line")
        return cls(digests)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._digests)

    def name_of(self, key: str) -> str | None:
        """Return the name of a key in the log and for the cache: the first digits of its hash. None if it is unknown.

        The time does not depend on how much of a key is right, or on which key it is.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        known = [hmac.compare_digest(digest, one) for one in self._digests]
        return digest.hex()[:16] if any(known) else None


def given_key(headers: dict[bytes, bytes]) -> str | None:
    """Return the key of a request: of `Authorization: Bearer KEY` (OpenAI) or `x-api-key: KEY` (Anthropic)."""
    kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip() or None
