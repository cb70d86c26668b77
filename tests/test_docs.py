"""Check the pages on the classes: examples run, signatures match the code, and the two languages match.

A fenced block `python` is an example. The examples of a page share variables; an example that begins with `# PyTorch`,
`# TensorFlow` or `# Flax` is for that framework, the others are for all. A fenced block `py` contains signatures.
"""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roberta_core.outputs import OUTPUTS, ModelOutput

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODEL_PAGE, CHINESE = DOCS / "roberta.md", DOCS / "roberta.zh.md"
PAGES = (MODEL_PAGE, CHINESE, DOCS / "migrating.md", DOCS / "own-classes.md", DOCS / "tasks.md", DOCS / "tokenizers.md")

# First line of a framework's examples -> its module, its package, the prefix of its classes, the name of a call.
FRAMEWORKS = {
    "PyTorch": ("torch", "roberta_pt", "Roberta", "forward"),
    "TensorFlow": ("tensorflow", "roberta_tf", "TFRoberta", "call"),
    "Flax": ("flax", "roberta_flax", "FlaxRoberta", "__call__"),
}
CORE = ("RobertaConfig", "RobertaTokenizer", "RobertaTokenizerFast")
# The documented methods of the configuration and of both tokenizers.
METHODS = {
    "RobertaConfig": ("from_pretrained", "save_pretrained", "from_dict", "to_dict"),
    "RobertaTokenizer": (
        "build_inputs_with_special_tokens",
        "get_special_tokens_mask",
        "create_token_type_ids_from_sequences",
        "save_vocabulary",
    ),
    "RobertaTokenizerFast": ("__call__", "from_pretrained", "save_pretrained", "encode", "decode", "pad"),
}
# Public methods for use inside the package: building a model and preparing a call.
INNER = {
    "attend",
    "body",
    "building",
    "caches",
    "check",
    "forward",
    "initialise",
    "output",
    "packed",
    "positions",
    "rows",
    "wants",
}
# Methods that a library requires of its models and documents itself, and a field of a Linen module that is a function.
LIBRARY = {"build", "setup", "bias_init"}


class Block(NamedTuple):
    """A fenced block of a page: the number of its first line, its language, its lines."""

    line: int
    language: str
    lines: list[str]

    @property
    def mark(self) -> str | None:
        """Return the framework in its first line, or None."""
        first = self.lines[0].removeprefix("# ")
        return first if first in FRAMEWORKS else None


def find_blocks(text: str, language: str) -> list[Block]:
    found, opened = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if opened is not None and line == "```":
            found.append(opened)
            opened = None
        elif opened is not None:
            opened.lines.append(line)
        elif line.startswith("```"):
            opened = Block(number + 1, line.removeprefix("```"), [])
    return [block for block in found if block.language == language]


def join_examples(text: str, mark: str | None) -> str:
    """Join the examples for a framework, or only those for all; each is on the same line as in the page."""
    lines = [""] * (text.count("\n") + 1)
    for block in find_blocks(text, "python"):
        if block.mark in (None, mark):
            lines[block.line - 1 : block.line - 1 + len(block.lines)] = block.lines
    return "\n".join(lines)


def run(page: str, code: str, folder: Path) -> subprocess.CompletedProcess:
    """Run code in a separate process; errors have the line numbers of the page."""
    start = "import sys; exec(compile(sys.stdin.read(), sys.argv[1], 'exec'), {'__name__': '__main__'})"
    return subprocess.run([sys.executable, "-c", start, page], input=code, cwd=folder, capture_output=True, text=True)


def skip_unless_installed(framework: str) -> None:
    if find_spec(FRAMEWORKS[framework][0]) is None:
        pytest.skip(f"{framework} is not installed")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("page", [page for page in PAGES if page != CHINESE], ids=lambda page: page.stem)
def test_the_examples_run_from_top_to_bottom(page, framework, tmp_path):
    skip_unless_installed(framework)
    ended = run(str(page), join_examples(page.read_text(encoding="utf-8"), framework), tmp_path)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if page != CHINESE], ids=lambda page: page.stem)
def test_the_examples_without_a_framework_need_none(page, tmp_path):
    code = join_examples(page.read_text(encoding="utf-8"), None)
    ended = run(
        str(page), f"{code}\nimport sys\nassert not {{'torch', 'tensorflow', 'jax'}} & set(sys.modules)\n", tmp_path
    )
    assert ended.returncode == 0, ended.stderr


def test_an_example_that_fails_is_found(tmp_path):
    text = "# Page\n\n```python\nassert True\n```\n\n```python\n# Flax\nassert False\n```\n"
    assert run("page.md", join_examples(text, "PyTorch"), tmp_path).returncode == 0
    failed = run("page.md", join_examples(text, "Flax"), tmp_path)
    assert failed.returncode == 1
    assert 'File "page.md", line 9' in failed.stderr


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_class_has_an_example(framework):
    _, package, prefix, _ = FRAMEWORKS[framework]
    examples = ["\n".join(block.lines) for block in find_blocks(MODEL_PAGE.read_text(encoding="utf-8"), "python")]
    names = [prefix + kind for kind in get_architectures()]
    assert [name for name in names if not any(f"from {package} import {name}\n" in code for code in examples)] == []


def get_architectures() -> tuple[str, ...]:
    return import_module("roberta_core.parameters").ARCHITECTURES


# Signatures ----------------------------------------------------------------------------------------------------------


def find_signatures(text: str) -> list[tuple[str, str]]:
    """Return (dotted name, parameters in parentheses) of every signature; indented and closing lines continue one."""
    found = []
    for block in find_blocks(text, "py"):
        for one in re.split(r"\n(?=[^\s)])", "\n".join(block.lines)):
            name, bracket, rest = one.partition("(")
            found.append((name, bracket + rest))
    return found


def parse_parameters(parameters: str) -> list[tuple[str, str, Any]]:
    """Return (name, kind, default) of each parameter on a page; of a dotted default only the last name."""
    arguments = ast.parse(f"def f{parameters}: ...").body[0].args  # pyright: ignore[reportAttributeAccessIssue]
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    return [
        *(
            (one.arg, "POSITIONAL_OR_KEYWORD", format_default(value))
            for one, value in zip(plain, defaults, strict=True)
        ),
        *((one.arg, "VAR_POSITIONAL", None) for one in [arguments.vararg] if one),
        *(
            (one.arg, "KEYWORD_ONLY", format_default(value))
            for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        ),
        *((one.arg, "VAR_KEYWORD", None) for one in [arguments.kwarg] if one),
    ]


def format_default(default: ast.expr | None) -> Any:
    if isinstance(default, ast.Attribute):
        return default.attr
    return None if default is None else repr(ast.literal_eval(default))


def inspect_parameters(value: Any) -> list[tuple[str, str, Any]]:
    """Return (name, kind, default) of each parameter of a function or constructor, or of each field of an output."""
    if inspect.isclass(value) and issubclass(value, ModelOutput):
        return [(name, "POSITIONAL_OR_KEYWORD", None) for name in value.fields]
    if inspect.isclass(value) and not issubclass(value, tuple):
        value = value.__init__
    parameters = [one for one in inspect.signature(value).parameters.values() if one.name != "self"]
    return [(one.name, one.kind.name, format_actual_default(one.default)) for one in parameters]


def format_actual_default(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return None
    if hasattr(default, "content"):  # a special token is documented as its text
        return repr(default.content)
    return default.__name__ if hasattr(default, "dtype") else repr(default)


def resolve(dotted: str) -> Any:
    """Return the object of a dotted name. Raises `AttributeError` or `ImportError` if it does not exist."""
    package, *path = dotted.split(".")
    value = import_module(package)
    for number, name in enumerate(path):
        if inspect.ismodule(value) and not hasattr(value, name):
            value = import_module(".".join([package, *path[: number + 1]]))
        else:
            value = getattr(value, name)
    return value


def find_wrong_signatures(text: str, package: str) -> list[str]:
    """Return the signatures of a package that differ from the code."""
    wrong = []
    for name, parameters in find_signatures(text):
        if name.split(".")[0] != package:
            continue
        try:
            expected = inspect_parameters(resolve(name))
        except (AttributeError, ImportError):
            wrong.append(f"{name} does not exist")
            continue
        if parse_parameters(parameters) != expected:
            wrong.append(f"{name} is {parameters}, the code has {expected}")
    return wrong


@pytest.mark.parametrize("package", ["roberta_core", *(values[1] for values in FRAMEWORKS.values())])
@pytest.mark.parametrize("page", [MODEL_PAGE, CHINESE], ids=lambda page: page.stem)
def test_every_signature_matches_the_code(page, package):
    for framework, (_, own, _, _) in FRAMEWORKS.items():
        if own == package:
            skip_unless_installed(framework)
    assert find_wrong_signatures(page.read_text(encoding="utf-8"), package) == []


TRUE = """roberta_core.outputs.FixedCache(layers, filled, real=None)
roberta_core.RobertaConfig.to_json_string(use_diff=True)"""
FAULTS = {
    "a default changed": TRUE.replace("True", "False"),
    "a default missing": TRUE.replace("=True", ""),
    "an argument missing": TRUE.replace(", filled", ""),
    "an argument too many": TRUE.replace("use_diff=True", "use_diff=True, indent=2"),
    "two arguments swapped": TRUE.replace("layers, filled", "filled, layers"),
    "an argument renamed": TRUE.replace("use_diff", "diff"),
    "an argument that is no longer positional": TRUE.replace("use_diff", "*, use_diff"),
    "a method that does not exist": TRUE.replace("to_json_string", "to_yaml_string"),
}


def test_a_correct_signature_is_accepted():
    assert find_wrong_signatures(f"```py\n{TRUE}\n```\n", "roberta_core") == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_signature_is_found(fault):
    assert len(find_wrong_signatures(f"```py\n{FAULTS[fault]}\n```\n", "roberta_core")) == 1


@pytest.fixture(scope="module")
def documented_names() -> set[str]:
    return {name for name, _ in find_signatures(MODEL_PAGE.read_text(encoding="utf-8"))}


def test_the_configuration_the_tokenizers_and_the_outputs_are_on_the_page(documented_names):
    wanted = {f"roberta_core.{name}" for name in CORE}
    wanted |= {f"roberta_core.{name}.{method}" for name, methods in METHODS.items() for method in methods}
    wanted |= {f"roberta_core.outputs.{output.__name__}" for output in OUTPUTS}
    assert wanted - documented_names == set()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_class_and_its_call_are_on_the_page(framework, documented_names):
    _, package, prefix, call = FRAMEWORKS[framework]
    wanted = {f"{package}.{prefix}{kind}" for kind in get_architectures()}
    # Flax's classes share one call, which the page gives once.
    wanted |= (
        {f"{name}.{call}" for name in wanted} if framework != "Flax" else {f"{package}.{prefix}PreTrainedModel.{call}"}
    )
    assert wanted - documented_names == set()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_public_method_is_on_the_page(framework, documented_names):
    skip_unless_installed(framework)
    _, package, prefix, call = FRAMEWORKS[framework]
    own = {name: value for name, value in vars(import_module(package)).items() if name.startswith(prefix)}
    methods = {
        method
        for value in own.values()
        for method, function in vars(value).items()
        if not method.startswith("_") and callable(getattr(value, method)) and not isinstance(function, type)
    }
    described = {name.rpartition(".")[2] for name in documented_names if name.startswith(f"{package}.")}
    assert sorted(methods - described - INNER - LIBRARY - {call}) == []


def test_each_argument_is_explained():
    """Every parameter of a documented signature is named in running text or in a table."""
    text = MODEL_PAGE.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", prose))))
    missing = {
        (name, one) for name, given in find_signatures(text) for one, *_ in parse_parameters(given) if one not in words
    }
    assert {(name, one) for name, one in missing if one != "args"} == set()  # Flax's constructors pass them on


# Two languages -------------------------------------------------------------------------------------------------------


def outline(page: Path) -> list[tuple[int, str | None]]:
    """Return the level of each heading, and its text if it is a name in the code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^(#+) (.*)$", text, re.M)
    return [(len(level), title if re.fullmatch(r"(TF|Flax)?(Roberta|For|Model)\w*", title) else None)
            for level, title in headings]  # fmt: skip


def list_rows(page: Path) -> list[tuple[int, list[str]]]:
    """Return the number of cells of each table row, and the code in its first cell."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    lines = re.findall(r"^\| .*\|$", text, re.M)
    return [(line.count("|"), re.findall(r"`[^`]+`", line.split("|")[1])) for line in lines]


def test_the_languages_have_the_same_code():
    english, chinese = (
        [
            (block.language, block.lines)
            for language in ("python", "py")
            for block in find_blocks(page.read_text("utf-8"), language)
        ]
        for page in (MODEL_PAGE, CHINESE)
    )
    assert english == chinese


def test_the_languages_have_the_same_headings():
    assert outline(MODEL_PAGE) == outline(CHINESE)


def test_the_languages_have_the_same_tables():
    assert list_rows(MODEL_PAGE) == list_rows(CHINESE)
