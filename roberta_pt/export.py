"""Export to a package of `torch.export`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.fx.experimental._config

from roberta_core.checkpoints.conversion import Opened
from roberta_core.exports import Exporter, Function, keep_pooler, list_inputs
from roberta_pt.backend import BACKEND
from roberta_pt.weights import from_numpy, to_numpy

FILE = "model.pt2"
SHORTEST = 2  # tokens: torch.export adds a guard against sequences of 1, which the tokenizer never makes


class _Outputs(torch.nn.Module):
    """A model that returns a plain dict: the package then loads without this project."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the main outputs by name."""
        output = self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return {name: value for name, value in output.items() if name != "past_key_values"}


def write_torch_export(opened: Opened, folder: Path, dtype: str, ids: str) -> None:
    """Write a package with free batch size and length."""
    model = BACKEND.from_tensors(opened.architecture, opened.config, opened.tensors, **keep_pooler(opened))
    axes = list_inputs(opened.config, opened.architecture)
    sizes = {"batch": 2, "choices": 3, "sequence": min(5, opened.config.max_sequence_length)}
    example = {name: torch.ones([sizes[axis] for axis in own], dtype=torch.long) for name, own in axes.items()}
    free = {
        "batch": torch.export.Dim("batch", min=1),
        "choices": torch.export.Dim("choices", min=1),
        "sequence": torch.export.Dim("sequence", min=SHORTEST, max=opened.config.max_sequence_length),
    }
    shapes = {name: {number: free[axis] for number, axis in enumerate(own)} for name, own in axes.items()}
    # Without this, the package would refuse a batch of one row.
    settings: Any = torch.fx.experimental._config
    with torch.no_grad(), settings.patch(backed_size_oblivious=True):
        program = torch.export.export(_Outputs(model).eval(), (), example, dynamic_shapes=shapes)
    torch.export.save(program, folder / FILE)


def open_torch_export(folder: Path) -> Function:
    """Return the function of a package."""
    module = torch.export.load(folder / FILE).module()

    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = module(**{name: from_numpy(array) for name, array in inputs.items()})
        return {name: to_numpy(value) for name, value in found.items()}

    return run


TORCH_EXPORT = Exporter("pt", FILE, write_torch_export, open_torch_export, shortest=SHORTEST)
