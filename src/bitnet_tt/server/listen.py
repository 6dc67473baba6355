"""Where the server listens: taking an address before the model is loaded, the files for TLS, and the URL for people."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from bitnet_tt.errors import ConfigError
from bitnet_tt.server.settings import ServerSettings


@contextlib.contextmanager
def listening_socket(settings: ServerSettings) -> Iterator[socket.socket]:
    """Take the address of a server, before its model is loaded. Requests are answered once the server runs.

    Until then, clients cannot connect to a port. They can connect to a Unix socket, and wait.

    Raises:
        ConfigError: The address cannot be taken; the message says why.
    """
    listener = _bind_path(settings) if settings.uds is not None else _bind_port(settings)
    try:
        yield listener
    finally:
        listener.close()
        if settings.uds is not None:
            settings.uds.unlink(missing_ok=True)


def check_tls(settings: ServerSettings) -> None:
    """Check the files for TLS, before the model is loaded.

    Raises:
        ConfigError: They cannot be used.
    """
    if settings.tls_cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"--tls-cert {settings.tls_cert}, --tls-key {settings.tls_key}: {reason}") from error


def url_of(settings: ServerSettings, listener: socket.socket) -> str:
    """Return the address of a server, for people."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind_port(settings: ServerSettings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host}: {getattr(error, 'strerror', None) or 'this is no host name'}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(_why_not_bound(error, host, port)) from error
    return listener


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program; end it, or choose another port by --port"
    if error.errno == errno.EACCES:
        return f"port {port} is only for the superuser; choose one from 1024 to 65535 by --port"
    return f"--host {host}, --port {port}: {error.strerror}"


def _bind_path(settings: ServerSettings) -> socket.socket:
    path = settings.uds
    assert path is not None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            _remove_if_abandoned(path)
        listener.bind(os.fspath(path))
        listener.listen()  # so that a server that starts meanwhile does not take the socket for an abandoned one
    except OSError as error:
        listener.close()
        raise ConfigError(f"--uds {path}: {_why_no_socket(error, path)}") from error
    return listener


def _remove_if_abandoned(path: Path) -> None:
    """Remove the socket of a server that was killed; nobody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()


def _why_no_socket(error: OSError, path: Path) -> str:
    if error.errno != errno.EADDRINUSE:
        return error.strerror or str(error)
    if path.is_socket():
        return "another program listens there; end it, or choose another path"
    return "the path exists and is no socket; choose another one"
