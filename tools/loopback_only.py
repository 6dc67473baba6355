"""Run a command in a network namespace that has only loopback, where the machine allows that.

    python -m tools.loopback_only pytest tests/scale

So nothing that the command starts can reach another machine, or be reached by one. Linux only.
"""

import contextlib
import fcntl
import os
import socket
import struct
import sys

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1


def main() -> None:
    """Enter the namespace, and become the command."""
    command = sys.argv[1:]
    if not command:
        sys.exit(__doc__)
    try:
        _enter()
    except OSError as error:
        print(f"no network namespace here ({error.strerror}): the command runs with the network of this machine")
    os.execvp(command[0], command)


def _enter() -> None:
    """Enter a new network namespace, with a user namespace if that is needed, and switch loopback on.

    Raises:
        OSError: The machine does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    try:
        os.unshare(os.CLONE_NEWNET)
    except PermissionError:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 (each file takes one write)
                file.write(text)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as any_socket:
        request = struct.pack("16sh", b"lo", 0).ljust(40, b"\0")
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _GET_FLAGS, request), 16)
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP).ljust(40, b"\0"))


if __name__ == "__main__":
    main()
