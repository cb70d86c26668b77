"""What a script uses of transformers: read before anything is replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider, QualifiedNameProvider, QualifiedNameSource

from roberta_core.config import MODEL_TYPES
from roberta_core.migration.names import AUTO, BASES, COLLATORS, MODELS, OPTIMIZERS, PIPELINE
from roberta_core.safe_files import read_json_object

SOURCE = "transformers"
KNOWN = MODELS | AUTO | BASES | COLLATORS | OPTIMIZERS | PIPELINE
ROBERTA = re.compile(r"roberta|camembert", re.IGNORECASE)
# Checkpoints that have RoBERTa in their names and another architecture.
OTHERS = re.compile(r"chinese[-_]roberta|^uer/|roberta-xl|xlm-roberta-xl|prelayernorm|roberta-series", re.IGNORECASE)


@dataclass
class Survey:
    """Facts about a script. Lines count from 1."""

    imported: dict[str, int] = field(default_factory=dict)  # name of transformers -> first line
    checkpoints: dict[str, list[tuple[str | None, int]]] = field(default_factory=dict)  # by class: literal, line
    slow: dict[str, list[bool | None]] = field(default_factory=dict)  # by class: whether use_fast=False
    called: set[str] = field(default_factory=set)
    subclassed: set[str] = field(default_factory=set)
    tasks: list[tuple[str | None, int]] = field(default_factory=list)
    texts: dict[str, set[str]] = field(default_factory=dict)  # variable -> the strings assigned to it


class Surveyor(cst.CSTVisitor):
    """Fills a `Survey`."""

    METADATA_DEPENDENCIES = (QualifiedNameProvider, PositionProvider)

    def __init__(self) -> None:
        super().__init__()
        self.survey = Survey()

    def line(self, node: cst.CSTNode) -> int:
        """Return the line of a node."""
        return find_line(self, node)

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:  # noqa: N802
        """Record the imported names."""
        for alias in list_aliases(node):
            self.survey.imported.setdefault(alias.evaluated_name, self.line(alias))
        return False

    def visit_Import(self, node: cst.Import) -> bool:  # noqa: N802
        """Skip the names in `import transformers`, which are no uses."""
        return False

    def visit_Attribute(self, node: cst.Attribute) -> None:  # noqa: N802
        """Record the names that are reached as attributes of a module."""
        name = find_name(self, node)
        if name is not None:
            self.survey.imported.setdefault(name, self.line(node))

    def visit_Assign(self, node: cst.Assign) -> None:  # noqa: N802
        """Record variables that are set to a string."""
        for target in node.targets:
            if isinstance(target.target, cst.Name) and isinstance(node.value, cst.SimpleString):
                self.survey.texts.setdefault(target.target.value, set()).add(str(node.value.evaluated_value))

    def visit_ClassDef(self, node: cst.ClassDef) -> None:  # noqa: N802
        """Record the classes that are subclassed."""
        self.survey.subclassed |= {name for base in node.bases if (name := find_name(self, base.value))}

    def visit_Call(self, node: cst.Call) -> None:  # noqa: N802
        """Record the checkpoints and tasks of calls."""
        if (name := find_name(self, node.func)) is not None:
            self.survey.called.add(name)
            if name in PIPELINE:
                self.survey.tasks.append((self.read_text(find_argument(node, "task", 0)), self.line(node)))
                model = find_argument(node, "model", 1)
                text = "" if model is None else self.read_text(model)
                self.survey.checkpoints.setdefault(name, []).append((text, self.line(node)))
        elif isinstance(node.func, cst.Attribute) and (name := find_name(self, node.func.value)) is not None:
            self.survey.called.add(name)
            if node.func.attr.value == "from_pretrained":
                self.record_checkpoint(name, node)

    def record_checkpoint(self, name: str, node: cst.Call) -> None:
        """Record what is loaded with a class."""
        argument = find_argument(node, "pretrained_model_name_or_path", 0)
        texts: set[Any] = {self.read_text(argument)}
        if isinstance(argument, cst.Name):
            texts = {*self.survey.texts.get(argument.value, {None})}
        self.survey.checkpoints.setdefault(name, []).extend((text, self.line(node)) for text in texts)
        fast = find_argument(node, "use_fast", None)
        constant = {"True": False, "False": True}.get(fast.value) if isinstance(fast, cst.Name) else None
        self.survey.slow.setdefault(name, []).append(False if fast is None else constant)

    def read_text(self, node: cst.BaseExpression | None) -> str | None:
        """Return the value of a string literal, None for any other expression."""
        return str(node.evaluated_value) if isinstance(node, cst.SimpleString) else None


def find_line(visitor: Any, node: cst.CSTNode) -> int:
    """Return the line of a node."""
    return visitor.get_metadata(PositionProvider, node).start.line


def list_aliases(node: cst.ImportFrom) -> list[cst.ImportAlias]:
    """Return the names of `from transformers... import ...`; none if it is another module, or if it has a star."""
    if node.relative or node.module is None or isinstance(node.names, cst.ImportStar):
        return []
    module = cst.Module([]).code_for_node(node.module)
    return [*node.names] if module.partition(".")[0] == SOURCE else []


def find_name(visitor: Any, node: cst.CSTNode) -> str | None:
    """Return the known name of transformers that an expression stands for, None if it is none."""
    if not isinstance(node, cst.Name | cst.Attribute):
        return None
    for found in visitor.get_metadata(QualifiedNameProvider, node, ()):
        first, _, rest = found.name.partition(".")
        name = rest.rpartition(".")[2]
        is_class = all(part.islower() or "_" in part for part in rest.split(".")[:-1])
        if found.source is QualifiedNameSource.IMPORT and first == SOURCE and name in KNOWN and is_class:
            return name
    return None


def find_argument(node: cst.Call, name: str, position: int | None) -> cst.BaseExpression | None:
    """Return the value of an argument of a call by keyword or position, None if it is not given."""
    for number, argument in enumerate(node.args):
        if argument.keyword is not None and argument.keyword.value == name:
            return argument.value
        if argument.keyword is None and not argument.star and number == position:
            return argument.value
    return None


def survey(wrapper: MetadataWrapper) -> Survey:
    """Return the facts about a script."""
    surveyor = Surveyor()
    wrapper.visit(surveyor)
    return surveyor.survey


def find_other_checkpoints(found: Survey, name: str) -> Iterator[tuple[str, int]]:
    """Yield the checkpoints that a script loads with a class and that are not RoBERTa's, with their lines."""
    for text, line in found.checkpoints.get(name, ()):
        if text is not None and not is_roberta(text):
            yield text, line


def is_roberta(checkpoint: str) -> bool:
    """Return whether a checkpoint is RoBERTa's: by the model type of a local folder, otherwise by its name."""
    path = Path(checkpoint) / "config.json"
    if path.is_file():
        return read_json_object(path).get("model_type", "roberta") in MODEL_TYPES
    return ROBERTA.search(checkpoint) is not None and OTHERS.search(checkpoint) is None
