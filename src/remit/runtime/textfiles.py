"""Reads text files whose kind and size nobody vouches for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from remit.errors import BadInput


def read_bounded(path: Path, most: int) -> str:
    """Returns a regular file's text; bytes that aren't UTF-8 are kept as surrogates, for the loader to tell of.

    A link is followed. What is no regular file (a pipe, a device, a socket, a folder) is never read.

    Raises:
        BadInput: it can't be read, is no regular file, or has more than `most` bytes.
    """
    try:
        # Opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "no file that can be opened" if error.errno == errno.ENXIO else error.strerror
        raise BadInput(f"it can't be read: {why}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadInput("it is no regular file but a pipe, a device or a folder, and is not read")
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise BadInput(f"it can't be read: {error.strerror}") from error
    if len(data) > most:
        raise BadInput(f"it has more bytes than a file of its kind may have ({most:,})")
    return data.decode("utf-8", "surrogateescape")
