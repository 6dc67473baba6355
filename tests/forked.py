"""Run an action in a forked process."""

import os
import time
import warnings
from collections.abc import Callable

_LIMIT_SECONDS = 10.0


def in_child(action: Callable[[], object]) -> str:
    """Run an action in a forked process.

    Returns:
        The exception that the action raises, as `type: message`; `none`, or `hung` after 10 seconds.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork while other threads run
        child = os.fork()
    if child == 0:
        try:
            action()
            result = "none"
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(writer, result.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not os.waitpid(child, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(child, 9)
                os.waitpid(child, 0)
                return "hung"
            time.sleep(0.002)
        return pipe.read()
