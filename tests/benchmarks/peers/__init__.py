"""Other programs that run the same model files, each as it is installed from its registry, to compare speed with.

Each is a context manager, `with PEERS[name](files, context, threads) as peer`, and holds at most one model in memory:
`peer.complete` unloads what is loaded and loads the file that is wanted, within the time that it measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.benchmarks.peers.driven import node_llama_cpp, xllamacpp
from tests.benchmarks.peers.environments import FOLDER, NODE, SERVER, XLLAMACPP, install, installed
from tests.benchmarks.peers.peer import Peer, Reply
from tests.benchmarks.peers.served import llama_cpp_server

__all__ = ["FOLDER", "PEERS", "Peer", "Reply", "install", "installed"]

PEERS: dict[str, Callable[[Sequence[Path], int, int], AbstractContextManager[Peer]]] = {
    SERVER: llama_cpp_server,
    XLLAMACPP: xllamacpp,
    NODE: node_llama_cpp,
}
