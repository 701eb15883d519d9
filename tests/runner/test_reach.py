"""Clusters that are not there are told in one line, soon."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from linksim.errors import ClusterError
from linksim.runner import reach


def told(address: str) -> str:
    with pytest.raises(ClusterError) as caught:
        reach.probe(address)
    assert "\n" not in str(caught.value) and "dask scheduler" in str(caught.value)
    return str(caught.value)


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert "refused" in told(f"tcp://127.0.0.1:{free.getsockname()[1]}")
    assert "no host and port" in told("nonsense")
    assert "no host and port" in told("tcp://host")


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64, b""])
def test_somebody_else_there(says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(says)
                    if not says:
                        time.sleep(2 * reach.CONNECT_SECONDS)

        threading.Thread(target=serve, daemon=True).start()
        said = told(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        assert "allocate" not in said
        server.shutdown(socket.SHUT_RDWR)


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        time.sleep(5)
        raise OSError("no answer")

    monkeypatch.setattr(reach, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", slow)
    start = time.monotonic()
    assert "no answer within 0.1 s" in told("tcp://far.example:8786")
    assert time.monotonic() - start < 3
