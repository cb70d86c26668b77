"""This project's frameworks, frozen as in pipelines; `-plain` is not, `-bf16`, `-int8` and `-compile` neither."""

from roberta_core.backend import load as backend

# The option of each framework for bfloat16, where it is another one.
BFLOAT16 = {"tf": "mixed_bfloat16"}


def split_name(name):
    """Return the backend and the suffix, such as `bf16`."""
    framework, _, way = name.partition("-")
    return framework, way


def version(name):
    """Return the version of the framework, and the type that it computes in, if it is not the requested one."""
    found = backend(split_name(name)[0])
    is_float32 = name == "openvino-bf16" and found.runtime.find_dtype("bfloat16") == "float32"
    return f"{found.version}, float32: no bfloat16 here" if is_float32 else found.version


def import_libraries(name):
    """Import the framework."""
    version(name)


def load(name, folder):
    """Return the model as a function of NumPy arrays."""
    framework, way = split_name(name)
    dtypes = {"bf16": BFLOAT16.get(framework, "bfloat16"), "int8": "int8"}
    settings = {"dtype": dtypes[way]} if way in dtypes else {}
    model = backend(framework).from_pretrained("Model", folder, add_pooling_layer=False, **settings)
    if way == "compile":
        model.compile(dynamic=True)
    if not way:
        model = backend(framework).freeze(model)
    return lambda ids, mask: backend(framework).run(model, {"input_ids": ids, "attention_mask": mask}).last_hidden_state
