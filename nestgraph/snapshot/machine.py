"""Which machine this is, as far as files need to tell it from others that share a folder."""

import hashlib
import os
import re
import socket
from contextlib import suppress
from pathlib import Path


def host() -> str:
    """The name that people know this machine by, as one word."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())[:64] or "_"


def _mark() -> str:
    """Eight hexadecimal digits of its name, its identity and where its process numbers count.

    Machines that were copied have one identity, containers of one machine have names or process numbers of their own.
    """
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text("utf-8"))
    with suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(facts).encode("utf-8", "replace")).hexdigest()[:8]


MACHINE = _mark()
"""Tells this machine's files from those of others."""
