"""Options of `from_pretrained` that concern neither the download nor the configuration."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from roberta_core.checkpoints import formats
from roberta_core.checkpoints.errors import shorten
from roberta_core.config import RobertaConfig

AUTO = "auto"  # the dtype in which the checkpoint is stored
FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)

ONE_DEVICE = "a model is loaded as a whole onto one device"
ADAPTER = "load adapters with peft.PeftModel.from_pretrained(model, folder)"
QUANTISED = "load the model in a floating-point dtype, then quantise it with the tools of the framework"
# Options of the published classes that would change the result or the place of the model -> what to do instead.
UNSUPPORTED = {
    "adapter_kwargs": ADAPTER,
    "adapter_name": ADAPTER,
    "device_map": "load the model inside the device context of the framework",
    "device_mesh": ONE_DEVICE,
    "distributed_config": ONE_DEVICE,
    "gguf_file": "convert the file to safetensors first",
    "key_mapping": "specify strip_prefix, or rename the tensors in a copy of the file",
    "load_in_4bit": QUANTISED,
    "load_in_8bit": QUANTISED,
    "load_weight_prefix": "specify strip_prefix, or rename the tensors in a copy of the file",
    "max_memory": ONE_DEVICE,
    "offload_buffers": ONE_DEVICE,
    "offload_folder": ONE_DEVICE,
    "offload_state_dict": ONE_DEVICE,
    "quantization_config": QUANTISED,
    "return_unused_kwargs": "it is an option of RobertaConfig.from_pretrained",
    "state_dict": "load the checkpoint, then assign the tensors",
    "tf_to_pt_weight_rename": "the names of the tensors are those of the published classes",
    "torch_dtype": "specify dtype",
    "tp_plan": ONE_DEVICE,
    "tp_size": ONE_DEVICE,
    "use_flash_attention_2": 'specify attn_implementation="sdpa", which uses fused kernels',
    "use_kernels": 'specify attn_implementation="sdpa", which uses fused kernels',
    "variant": "rename the files, such as model.fp16.safetensors to model.safetensors, in a copy of the folder",
}


def refuse_unsupported(arguments: dict[str, Any]) -> None:
    """Remove the `UNSUPPORTED` options of a call that are None or False; raise `ValueError` for another value."""
    for name in UNSUPPORTED.keys() & arguments.keys():
        value = arguments.pop(name)
        if value is not None and value is not False:
            raise ValueError(f"{name}={shorten(repr(value))} is not supported: {UNSUPPORTED[name]}.")


def find_stored_dtype(folder: Path, config: RobertaConfig) -> str:
    """Return the dtype that "auto" means: the one that the configuration names, else that of the weights."""
    if config.dtype is not None:
        return config.dtype
    tensors = formats.detect_format(folder).read(folder)
    return next((tensors[name].dtype.name for name in tensors if tensors[name].dtype in FLOATS), "float32")
