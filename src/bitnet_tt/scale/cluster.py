"""ClusterSettings: where the workers and frontends of a cluster find each other, and how they are reached."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bitnet_tt.checks import require
from bitnet_tt.errors import ConfigError

_ETCD_PORT = 2379
_CONNECT_SECONDS = 3.0


def default_folder() -> Path:
    """Return the folder in which processes of this user find each other on this machine."""
    return Path(tempfile.gettempdir()) / f"bitnet-tt-scale-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How one process takes part in a cluster. All processes of a cluster name the same folder or the same etcd.

    Attributes:
        folder: Folder with a file for each worker, for a cluster on one machine. It is made if it is missing.
        etcd: URLs of etcd servers, for a cluster of several machines, in place of the folder.
        address: The address of this machine for the others. Nothing listens on any other address.
        namespace: Clusters of different namespaces do not see each other.
    """

    folder: Path
    etcd: tuple[str, ...] = ()
    address: str = "127.0.0.1"
    namespace: str = "bitnet"

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: A value cannot be used; the message names the field.
        """
        plain = self.namespace.isascii() and self.namespace.replace("-", "").isalnum()
        require("namespace", self.namespace, "letters, digits and hyphens", plain)
        try:
            local = socket.inet_pton(socket.AF_INET, self.address) != bytes(4)
        except OSError:
            local = False
        require("address", self.address, "the IPv4 address of one network of this machine", local)

    def check(self) -> None:
        """Check that the workers can be found: that the folder is our own, or that etcd answers.

        Raises:
            ConfigError: They cannot; the message says what to do.
        """
        if self.etcd:
            for url in self.etcd:
                _check_etcd(url)
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
        except OSError as error:
            raise ConfigError(f"--folder {self.folder}: {error.strerror}") from error
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise ConfigError(
                f"--folder {self.folder}: other users can write there, and could add workers; choose one that only "
                "you can write to"
            )

    @property
    def place(self) -> str:
        """Where the workers are found, for people."""
        return ", ".join(self.etcd) or str(self.folder)


def _check_etcd(url: str) -> None:
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        address = (parts.hostname or "", parts.port or _ETCD_PORT)
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--etcd {url}: no etcd answers there ({reason}); start etcd 3.4 or later, correct the URL, or leave "
            "--etcd out if all workers are on this machine"
        ) from error
