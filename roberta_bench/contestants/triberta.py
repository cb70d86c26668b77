"""This project's three frameworks as a user calls them; `-bf16` uses bfloat16, `-compile` uses torch.compile."""

from roberta_core.backend import load as backend

# The option of each framework for bfloat16.
BFLOAT16 = {"pt": {"dtype": "bfloat16"}, "tf": {"dtype": "mixed_bfloat16"}, "flax": {"dtype": "bfloat16"}}


def version(name):
    """Return the version of the framework."""
    return backend(name.partition("-")[0]).version


def import_libraries(name):
    """Import the framework."""
    version(name)


def load(name, folder):
    """Return the model as a function of NumPy arrays."""
    framework, _, way = name.partition("-")
    settings = BFLOAT16[framework] if way == "bf16" else {}
    model = backend(framework).from_pretrained("Model", folder, add_pooling_layer=False, **settings)
    if way == "compile":
        model.compile(dynamic=True)
    return lambda ids, mask: backend(framework).run(model, {"input_ids": ids, "attention_mask": mask}).last_hidden_state
