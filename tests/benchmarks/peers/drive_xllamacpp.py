"""Serves xllamacpp over a pipe: one request per line in, chunks out. The Python of its environment runs this."""

import json
import os
import sys

import xllamacpp  # type: ignore[import-not-found]  # installed in the environment that runs this


def load(file: str, context: int, threads: int) -> "xllamacpp.Server":
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx = context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.fit_params = False  # the context is given, and fitting takes longer than the load
    params.warmup = False  # the first prompt does the same
    params.verbosity = 0
    return xllamacpp.Server(params)


def main() -> None:
    context, threads = int(sys.argv[1]), int(sys.argv[2])
    chunks = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # llama.cpp logs to stdout: send that to stderr
    servers: dict[str, xllamacpp.Server] = {}

    def send(chunk: bytes) -> None:
        chunks.write(chunk + b"\n")

    for line in sys.stdin.buffer:
        file = json.loads(line)["model"]
        if file not in servers:
            servers.clear()  # unload before the next load
            servers[file] = load(file, context, threads)
        # Bytes in and out: no conversion to Python objects costs time.
        servers[file].handle_completions(line, send)


if __name__ == "__main__":
    main()
