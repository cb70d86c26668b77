"""The three packages are mirrors: the same files, the same classes in the same order, the same public docstrings.

In the files of functions, the public functions have the same names in the same order with the same arguments too.

Read from the sources, so no framework is needed. What a library's own idiom makes different is listed here, with why.
"""

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

REFERENCE = "roberta_pt"
MIRRORS = ("roberta_tf", "roberta_flax")

# What a package puts before a published class name, and how it names its framework in prose.
PREFIXES = {"roberta_pt": "", "roberta_tf": "TF", "roberta_flax": "Flax"}
TITLES = {"roberta_pt": "PyTorch", "roberta_tf": "TensorFlow", "roberta_flax": "Flax"}
# How the example of a docstring imports the framework and makes a tensor.
CALLS = {
    "roberta_pt": {">>> import torch\n": ">>> IMPORT\n", "torch.tensor(": "TENSOR("},
    "roberta_tf": {">>> import tensorflow as tf\n": ">>> IMPORT\n", "tf.constant(": "TENSOR("},
    "roberta_flax": {">>> import jax.numpy as jnp\n": ">>> IMPORT\n", "jnp.array(": "TENSOR("},
}
CLASSES = ("Roberta", "Backend")  # names that the prefix stands before; layers have none

# Files that one package has for its own library, and why: (package, file).
OWN_FILES = {
    ("roberta_pt", "products.py"): "PyTorch has two libraries for a matrix product, and prefers the slower one on AMD",
    ("roberta_pt", "sharding.py"): "FSDP2 is PyTorch's",
    ("roberta_pt", "packing.py"): "oneDNN's packed weights gain nothing in TensorFlow and JAX",
    ("roberta_pt", "initialisation.py"): "only PyTorch's published classes initialise a user's layers themselves",
    ("roberta_pt", "blocks.py"): "the published blocks of Flax are Linen modules",
    ("roberta_tf", "blocks.py"): "the same",
    ("roberta_flax", "linen_blocks.py"): "the published blocks of Flax are Linen modules",
    ("roberta_pt", "block_caches.py"): "the published blocks of PyTorch extend a cache in place, the others return it",
    ("roberta_tf", "own_layers.py"): "Keras's layers are built when they are called first",
    ("roberta_flax", "own_layers.py"): "a user's class may be an NNX module or name a Linen module",
    ("roberta_flax", "linen.py"): "the published Flax classes are Linen modules",
    ("roberta_tf", "serving.py"): "the signatures of a SavedModel",
    ("roberta_tf", "calls.py"): "an eager call runs a kept tf.function",
    ("roberta_pt", "interop.py"): "Trainer and PEFT are for PyTorch alone",
    ("roberta_tf", "fitting.py"): "Keras's compile and fit",
    ("roberta_tf", "datasets.py"): "tf.data",
    ("roberta_tf", "schedules.py"): "only the published TensorFlow scripts make their optimiser with a function",
    ("roberta_tf", "recompute.py"): "TensorFlow's gradient checkpointing would draw dropout again",
    ("roberta_flax", "calls.py"): "an eager call runs a kept jitted function, a published one to a pure function",
    ("roberta_flax", "buckets.py"): "XLA compiles for each shape",
}
# Public classes that one package has for its own library, and why: (package, file, class without prefix).
OWN_CLASSES = {
    ("roberta_pt", "processes.py", "SharedLoss"): "DistributedDataParallel wraps a module",
    ("roberta_flax", "processes.py", "Placement"): "JAX's arrays say on which devices they lie",
    ("roberta_flax", "layers.py", "NoKeys"): "Flax's constructors ask for random keys",
    ("roberta_tf", "heads.py", "PublishedLMHead"): "the published head is given the word embeddings",
    ("roberta_tf", "layers.py", "Watched"): "a kept graph knows the attributes of its layers as they were",
    ("roberta_tf", "layers.py", "Identity"): "a kept graph knows the attributes of its layers as they were",
    ("roberta_tf", "serving.py", "SavedLayer"): "a SavedModel needs TensorFlow's variables without Keras's wrappers",
    ("roberta_tf", "trees.py", "CacheType"): "tf.function asks for the type of an argument",
    ("roberta_tf", "optimizer.py", "AdamW"): "Keras's own has its epsilon elsewhere, and knows one rate",
    ("roberta_flax", "generation.py", "Sequences"): "the published Flax classes return an output",
    ("roberta_flax", "calls.py", "HashableConfig"): "nnx compares and hashes what a module holds",
}
# Files whose public functions are compared: names, order, arguments and their defaults.
FUNCTIONS = ("losses.py", "masks.py", "caches.py")
# Public functions that one package has for its own library, and why: (package, file, function).
OWN_FUNCTIONS = {
    ("roberta_pt", "masks.py", "is_all_visible"): "PyTorch's fused kernel is faster without a mask",
}
# Public classes whose docstrings may differ, and why: (file, class without prefix).
OWN_WORDS = {
    ("processes.py", "DistributedProcesses"): "each library starts and joins processes in its own way",
    ("layers.py", "Linear"): "PyTorch's chooses its library",
    ("layers.py", "Dropout"): "each draws its elements in its library's own way",
    ("layers.py", "LayerNorm"): "Flax's has a fast variance to be turned off",
    ("pretrained.py", "RobertaPreTrainedModel"): "each library has settings of its own",
}


@dataclass(frozen=True)
class Outline:
    """A package as a reader skims it: its files, in each the public classes with their docstrings, in some functions.

    The functions of `FUNCTIONS` stand with their arguments, without the types.
    """

    files: dict[str, dict[str, str]]
    functions: dict[str, dict[str, str]]


def folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent


def outline(package: str, root: Path) -> Outline:
    """The outline of a package with its prefix and its framework's name taken out."""
    files, functions = {}, {}
    for path in sorted(root.rglob("*.py")):
        name, body = path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8")).body
        public = [node for node in body if not getattr(node, "name", "_").startswith("_")]
        files[name] = {
            neutral(package, node.name): neutral(package, ast.get_docstring(node) or "")
            for node in public
            if isinstance(node, ast.ClassDef)
        }
        if name in FUNCTIONS:
            functions[name] = {node.name: signature(node) for node in public if isinstance(node, ast.FunctionDef)}
    return Outline(files, functions)


def signature(function: ast.FunctionDef) -> str:
    """The arguments of a function with their defaults, without their types."""
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(function.args)


def neutral(package: str, text: str) -> str:
    """Names and prose without what tells the package: TFRobertaModel and FlaxRobertaModel become RobertaModel."""
    text = text.replace(package, "PACKAGE")
    for call, common in CALLS[package].items():
        text = text.replace(call, common)
    for stem in CLASSES:
        text = text.replace(PREFIXES[package] + stem, stem)
    return text.replace(f"{TITLES[package]}Backend", "Backend").replace(TITLES[package], "FRAMEWORK")


def differences(package: str, reference: Outline, mirror: Outline) -> list[str]:
    """What a reader of both would stumble over, a sentence each."""
    pair = (REFERENCE, package)
    found = []
    for file in sorted(reference.files.keys() ^ mirror.files.keys()):
        owner = REFERENCE if file in reference.files else package
        if (owner, file) not in OWN_FILES:
            found.append(f"only {owner} has {file}")
    for file in sorted(reference.files.keys() & mirror.files.keys()):
        ours, theirs = (
            {name: text for name, text in side.files[file].items() if (owner, file, name) not in OWN_CLASSES}
            for owner, side in zip(pair, (reference, mirror), strict=True)
        )
        if list(ours) != list(theirs):
            found.append(f"{file}: {REFERENCE} has {list(ours)}, {package} has {list(theirs)}")
        found += [
            f"{file}: the docstrings of {name} differ: {ours[name]!r} and {theirs[name]!r}"
            for name in ours.keys() & theirs.keys()
            if ours[name] != theirs[name] and (file, name) not in OWN_WORDS
        ]
    for file in sorted(reference.functions.keys() & mirror.functions.keys()):
        ours, theirs = (
            {name: text for name, text in side.functions[file].items() if (owner, file, name) not in OWN_FUNCTIONS}
            for owner, side in zip(pair, (reference, mirror), strict=True)
        )
        if list(ours) != list(theirs):
            found.append(f"{file}: {REFERENCE} has the functions {list(ours)}, {package} has {list(theirs)}")
        found += [
            f"{file}: {name} has the arguments {ours[name]!r} and {theirs[name]!r}"
            for name in ours.keys() & theirs.keys()
            if ours[name] != theirs[name]
        ]
    return found


# Files of roberta_onnx whose classes are those of PyTorch in the same order.
# The docstrings of models.py describe graphs.
IN_ONNX = ("layers.py", "encoder.py", "heads.py", "models.py")
WORDS_IN_ONNX = ("encoder.py", "heads.py")
NOT_IN_ONNX = ("Dropout",)  # a graph is for inference


@pytest.fixture(scope="module")
def reference() -> Outline:
    return outline(REFERENCE, folder(REFERENCE))


@pytest.mark.parametrize("package", MIRRORS)
def test_the_package_mirrors_the_pytorch_one(package, reference):
    assert differences(package, reference, outline(package, folder(package))) == []


def compare_with_graphs(reference: Outline, files: dict[str, dict[str, str]]) -> list[str]:
    """What is different in the files of roberta_onnx that mirror those of PyTorch."""
    found = []
    for file in IN_ONNX:
        ours = {name: text for name, text in reference.files[file].items() if name not in NOT_IN_ONNX}
        theirs = {name.replace("OnnxRoberta", "Roberta"): text for name, text in files[file].items()}
        if list(ours) != list(theirs):
            found.append(f"{file}: {REFERENCE} has {list(ours)}, roberta_onnx has {list(theirs)}")
        shared = [name for name in ours if name in theirs and file in WORDS_IN_ONNX]
        found += [f"{file}: the docstrings of {name} differ" for name in shared if ours[name] != theirs[name]]
    return found


def outline_graphs() -> dict[str, dict[str, str]]:
    bodies = {name: ast.parse((folder("roberta_onnx") / name).read_text(encoding="utf-8")).body for name in IN_ONNX}
    return {
        name: {one.name: ast.get_docstring(one) or "" for one in body if isinstance(one, ast.ClassDef)}
        for name, body in bodies.items()
    }


def test_the_graphs_mirror_the_pytorch_package(reference):
    assert compare_with_graphs(reference, outline_graphs()) == []


@pytest.mark.parametrize("fault", ["a class missing", "two classes swapped", "a docstring changed"])
def test_an_injected_difference_of_the_graphs_is_found(reference, fault):
    files = outline_graphs()
    names = list(files["encoder.py"])
    if fault == "a class missing":
        del files["encoder.py"][names[2]]
    elif fault == "two classes swapped":
        files["encoder.py"] = {name: files["encoder.py"][name] for name in reversed(names)}
    else:
        files["encoder.py"][names[1]] += " Another sentence."
    assert compare_with_graphs(reference, files)


@pytest.mark.parametrize("package", [REFERENCE, *MIRRORS])
def test_each_exception_is_still_needed(package):
    found = outline(package, folder(package))
    own, functions = found.files, found.functions
    assert not [key for key in OWN_FILES if key[0] == package and key[1] not in own]
    assert not [key for key in OWN_CLASSES if key[0] == package and key[2] not in own.get(key[1], {})]
    assert not [key for key in OWN_FUNCTIONS if key[0] == package and key[2] not in functions.get(key[1], {})]
    assert not [key for key in OWN_WORDS if key[1] not in own.get(key[0], {})]


PYTORCH = '''
class Embeddings:
    """Words, positions and types [B, S, D]."""

class RobertaModel:
    """The encoder of `roberta_pt`, in PyTorch.
    >>> import torch
    >>> RobertaModel(config)(torch.tensor([[0, 45, 2]]))
    """

class _Helper:
    pass
'''
FLAX = PYTORCH.replace("roberta_pt", "roberta_flax").replace("PyTorch", "Flax").replace("RobertaM", "FlaxRobertaM")
FLAX = FLAX.replace("import torch", "import jax.numpy as jnp").replace("torch.tensor", "jnp.array")

LOSSES = '''
def token_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """The cross entropy."""

def span_loss(start_logits: Tensor, labels: Tensor) -> Tensor:
    pass

def _reduce(losses: Tensor) -> Tensor:
    pass
'''

FAULTS = {
    "a class renamed": ("models.py", FLAX.replace("class Embeddings", "class Embedding")),
    "two classes swapped": ("models.py", "\n".join(reversed(FLAX.split("\n\n")))),
    "a class missing": ("models.py", FLAX.split("\n\n")[0]),
    "a prefix forgotten": ("models.py", FLAX.replace("FlaxRoberta", "TFRoberta")),
    "a docstring changed": ("models.py", FLAX.replace("[B, S, D]", "[B, D, S]")),
    "an example changed": ("models.py", FLAX.replace("[[0, 45, 2]]", "[[0, 46, 2]]")),
    "another framework's example": ("models.py", FLAX.replace("jnp.array", "tf.constant")),
    "a docstring missing": ("models.py", FLAX.replace('"""Words, positions and types [B, S, D]."""', "pass")),
    "a file more": ("extra.py", ""),
    "a function renamed": ("losses.py", LOSSES.replace("token_loss", "tokens_loss")),
    "two functions swapped": ("losses.py", "\n".join(reversed(LOSSES.split("\n\n")))),
    "a function missing": ("losses.py", LOSSES.split("\n\n")[0]),
    "an argument renamed": ("losses.py", LOSSES.replace("labels", "targets")),
    "another default": ("losses.py", LOSSES.replace('"mean"', '"sum"')),
}


@pytest.fixture
def mirrored(tmp_path) -> dict[str, Path]:
    """A small package and its true mirror."""
    folders = {package: tmp_path / package for package in ("roberta_pt", "roberta_flax")}
    for package, text in (("roberta_pt", PYTORCH), ("roberta_flax", FLAX)):
        folders[package].mkdir()
        (folders[package] / "models.py").write_text(text)
        tensor = {"roberta_pt": "Tensor", "roberta_flax": "Array"}[package]
        (folders[package] / "losses.py").write_text(LOSSES.replace("Tensor", tensor))
    return folders


def compared(folders: dict[str, Path]) -> list[str]:
    first, second = (outline(package, path) for package, path in folders.items())
    return differences("roberta_flax", first, second)


def test_a_true_mirror_has_no_difference(mirrored):
    assert compared(mirrored) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_an_injected_difference_is_found(mirrored, fault):
    file, text = FAULTS[fault]
    (mirrored["roberta_flax"] / file).write_text(text)
    assert compared(mirrored)
