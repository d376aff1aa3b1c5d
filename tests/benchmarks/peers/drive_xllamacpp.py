"""xllamacpp behind a pipe: requests come in, one a line, and chunks go out; run by its environment's Python."""

import json
import os
import sys

import xllamacpp  # type: ignore[import-not-found]  # it is in the environment that runs this


def load(file: str, context: int, threads: int) -> "xllamacpp.Server":
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx = context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.fit_params = False  # the context is known, and to find what fits takes longer than the load
    params.warmup = False  # the first prompt is as good
    params.verbosity = 0
    return xllamacpp.Server(params)


def main() -> None:
    context, threads = int(sys.argv[1]), int(sys.argv[2])
    chunks = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # llama.cpp's log keeps out of the way
    servers: dict[str, xllamacpp.Server] = {}

    def send(chunk: bytes) -> None:
        chunks.write(chunk + b"\n")

    for line in sys.stdin.buffer:
        file = json.loads(line)["model"]
        if file not in servers:
            servers.clear()  # gone before the next one comes
            servers[file] = load(file, context, threads)
        # As bytes, neither the request nor the chunks are made into Python's objects.
        servers[file].handle_completions(line, send)


if __name__ == "__main__":
    main()
