"""Peers: other programs that run the same model files, installed from their registries, to compare speed with.

Each is a context manager, `with PEERS[name](files, context, threads) as peer`, and holds at most one model in memory:
`peer.complete` swaps models if necessary, and its time includes the swap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.benchmarks.peers.driven import node_llama_cpp, xllamacpp
from tests.benchmarks.peers.environments import FOLDER, NODE, SERVER, XLLAMACPP, install, install_peer, installed
from tests.benchmarks.peers.peer import Peer, Reply
from tests.benchmarks.peers.served import llama_cpp_server

__all__ = ["FOLDER", "PEERS", "Peer", "Reply", "install", "install_peer", "installed"]

PEERS: dict[str, Callable[[Sequence[Path], int, int], AbstractContextManager[Peer]]] = {
    SERVER: llama_cpp_server,
    XLLAMACPP: xllamacpp,
    NODE: node_llama_cpp,
}
