"""The adapter of a running server: `roberta parity CHECKPOINT --against http://127.0.0.1:8000`.

It compares the hidden states of the last layer, which the route `/embed_all` returns, on one text at a time: a server
returns nothing for padding.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from roberta_core.checkpoints import resolve
from roberta_core.config import RobertaConfig

SCHEMES = ("http://", "https://")
SECONDS = 120  # that an answer may take
KEY = "ROBERTA_API_KEY"  # environment variable with the server's API key, if it requires one


def is_address(target: Any) -> TypeGuard[str]:
    """Return whether the value of `--against` is the address of a server."""
    return isinstance(target, str) and target.lower().startswith(SCHEMES)


class Server:
    """A server with the route `/embed_all`.

    Args:
        url: Its address.

    Raises:
        ValueError: If it does not answer.
    """

    partial = True  # it returns only one of the stages
    unpadded = True  # inputs must not have padding

    def __init__(self, url: str):
        self.name = self.title = url
        self.version = str(self._ask("/info").get("version", ""))

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Not supported: the server has its own checkpoint."""
        raise NotImplementedError(f"{self.name} runs checkpoints only")

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Return the name of the stage that the server returns: it has loaded the checkpoint."""
        layers = RobertaConfig.from_pretrained(resolve(source)).num_hidden_layers
        return "last_hidden_state" if architecture == "Model" else f"hidden_states.{layers}"

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: only outputs are compared."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return the hidden states [B, S, D] of rows without padding.

        Raises:
            ValueError: If the rows have padding, or the server refuses them.
        """
        if not inputs["attention_mask"].all():
            raise ValueError(f"{self.name} runs rows without padding only")
        rows = self._ask("/embed_all", {"inputs": inputs["input_ids"].tolist()})
        return {model: np.array(rows, np.float32)}

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        request = urllib.request.Request(self.name.rstrip("/") + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{self.name}{path} answered {error.code}: {_read_detail(error)}") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.name} cannot be used: {error}") from None


def _read_detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, OSError):
        return error.reason
