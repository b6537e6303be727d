"""What every test runs under: no network, no graphical display, few threads."""

from __future__ import annotations

import os
import signal
import socket
import sys

import pytest

from pipeline.threads import wait_briefly

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def pytest_configure(config: pytest.Config) -> None:
    chosen = config.getoption("markexpr") or ""
    if sys.platform == "linux" and ("gpu" not in chosen or "not gpu" in chosen):
        # Triton reads it when a kernel is defined: without a GPU kernels run in its interpreter.
        os.environ.setdefault("TRITON_INTERPRET", "1")
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other cores have workers of their own
    wait_briefly()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell that starts the tests in the background ignores Ctrl-C for them and for every
        # command they start; the tests send it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to any address but the loopback one fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> object:
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def no_workspace_of_yours(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What takes the default workspace gets an empty one, not the project's."""
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path_factory.getbasetemp() / "default-workspace"))
