"""Runs llama-cpp-python's server until stdin closes. The Python of its environment runs this."""

import os
import runpy
import threading


def end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    os.dup2(2, 1)  # nobody reads its stdout
    runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)
