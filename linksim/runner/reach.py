"""Whether workers can be had, asked before anything is done with them."""

from __future__ import annotations

import importlib.util
import logging
import socket
import threading
from urllib.parse import urlsplit

from linksim.errors import ClusterError

CONNECT_SECONDS = 3.0  # for each of: the address, and the scheduler behind it


def probe(cluster: str) -> None:
    """See whether there is a cluster. Args: cluster: "slurm" or an address. Raises: ClusterError."""
    if cluster == "slurm":
        if importlib.util.find_spec("dask_jobqueue") is None:
            raise ClusterError(
                "--cluster slurm needs dask-jobqueue, which is not installed; python -m pip install 'linksim[slurm]'"
            )
        return
    problem = _no_address(cluster) or _no_scheduler(cluster)
    if problem is not None:
        raise ClusterError(
            f"no Dask scheduler answers at {cluster!r}: {problem}; start one with `dask scheduler` and give its "
            "address, such as tcp://host:8786, or give `slurm`"
        )


def _no_address(address: str) -> str | None:
    """What is wrong with a host and port, or None; needs no library, so a mistake is told at once."""
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if not host or not port:
        return "it has no host and port"
    if parts.scheme not in ("tcp", "tls"):
        return None  # Dask knows others
    found: list[str | None] = []

    def connect() -> None:
        try:
            with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
                found.append(None)
        except (OSError, UnicodeError) as error:
            found.append(getattr(error, "strerror", None) or str(error))

    # A name server that does not answer has no timeout of ours: wait for it from outside.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * CONNECT_SECONDS)
    return found[0] if found else f"no answer within {2 * CONNECT_SECONDS:g} s"


def _no_scheduler(address: str) -> str | None:
    """What is wrong with what answers, or None."""
    import asyncio

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        kind = asyncio.run(asyncio.wait_for(_identity(address), CONNECT_SECONDS))
    except (TimeoutError, MemoryError):  # what is no length was taken for one
        return "what is there does not speak Dask's protocol"
    except Exception as error:  # what answers may be anything
        return one_line(error)
    return None if kind == "Scheduler" else f"a {kind} is there"


async def _identity(address: str) -> str:
    """Who is at an address."""
    from distributed.core import rpc

    async with rpc(address, timeout=CONNECT_SECONDS) as peer:
        return str((await peer.identity()).get("type"))


def one_line(error: BaseException) -> str:
    """An error's text, or its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
