"""Replaces the names of a script, and notes what else has to change."""

from __future__ import annotations

from typing import Any

import libcst as cst
from libcst.metadata import PositionProvider, QualifiedNameProvider, QualifiedNameSource

from roberta_core.checkpoints.load_options import UNSUPPORTED
from roberta_core.migration.advice import ATTRIBUTES, LEGACY_KERAS, LIBRARIES, OPTIMIZER_ARGUMENTS, advise_on_name
from roberta_core.migration.decisions import Decisions
from roberta_core.migration.names import REMOVED
from roberta_core.migration.survey import KNOWN, SOURCE, find_line, find_name, list_aliases

WIDTH = 88  # of an import line
PYTORCH = ("device_map", "torch_dtype")  # options of from_pretrained that only roberta_pt honours
Small = cst.BaseSmallStatement


class ImportReplacer(cst.CSTTransformer):
    """Replaces import statements, each by several: on lines of their own, or on the line that the statement shares."""

    def replace_import(self, node: Small) -> list[Small] | None:
        """Return the statements that replace an import, none if it is removed; None if it stays."""
        raise NotImplementedError

    def leave_SimpleStatementLine(  # noqa: N802
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> Any:
        """Replace the imports of a line."""
        if len(original_node.body) > 1:
            return self._replace_in_line(original_node, updated_node)
        made = self.replace_import(original_node.body[0])
        if made is None:
            return updated_node
        if not made:
            return cst.RemoveFromParent()
        lines = [cst.SimpleStatementLine([statement]) for statement in made]
        lines[0] = lines[0].with_changes(leading_lines=updated_node.leading_lines)
        lines[-1] = lines[-1].with_changes(trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)

    def leave_SimpleStatementSuite(  # noqa: N802
        self, original_node: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> Any:
        """Replace the imports on the line of an `if` or `try`."""
        return self._replace_in_line(original_node, updated_node)

    def _replace_in_line(self, original: Any, updated: Any) -> Any:
        body: list[Small] = []
        for old, new in zip(original.body, updated.body, strict=True):
            found = self.replace_import(old)
            made: list[Any] = [new] if found is None else found or [cst.Pass()]
            body += [*made[:-1], made[-1].with_changes(semicolon=new.semicolon)]
        return updated.with_changes(body=body)


class Rewriter(ImportReplacer):
    """Replaces the chosen names of transformers in a script; `notes` has (line, text) for the rest."""

    METADATA_DEPENDENCIES = (QualifiedNameProvider, PositionProvider)

    def __init__(self, decisions: Decisions) -> None:
        super().__init__()
        self.chosen = decisions.chosen
        self.notes = [*decisions.notes]
        self.packages = {name.module for name in self.chosen.values()}
        self.roots: dict[str, list[set[str]]] = {}  # local name of the library -> modules that replace each of its uses

    def note(self, node: cst.CSTNode, text: str) -> None:
        """Note what to do on the line of a node, once."""
        entry = (find_line(self, node), text)
        if entry not in self.notes:
            self.notes.append(entry)

    # Uses ----------------------------------------------------------------------------------------------------------

    def visit_Import(self, node: cst.Import) -> bool:  # noqa: N802
        """Check the modules that are imported; their names are no uses."""
        for alias in node.names:
            self._check_library(alias, alias.evaluated_name)
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:  # noqa: N802
        """Check the names that are imported from other libraries; they are no uses."""
        if not node.relative and node.module is not None:
            module = cst.Module([]).code_for_node(node.module)
            if isinstance(node.names, cst.ImportStar):
                if module.partition(".")[0] == SOURCE:
                    self.note(node, "`import *` is not replaced: list the names that are used")
            else:
                for alias in node.names:
                    self._check_library(alias, f"{module}.{alias.evaluated_name}")
        return False

    def visit_Name(self, node: cst.Name) -> None:  # noqa: N802
        """Count the uses of `import transformers`."""
        for found in self.get_metadata(QualifiedNameProvider, node, ()):
            if found.source is QualifiedNameSource.IMPORT and found.name.partition(".")[0] == SOURCE:
                self.roots.setdefault(node.value, []).append(set())

    def visit_Attribute(self, node: cst.Attribute) -> None:  # noqa: N802
        """Note attributes that these packages or current libraries lack."""
        for package in sorted(self.packages & ATTRIBUTES.keys()):
            if node.attr.value in ATTRIBUTES[package] and not self._is_imported(node):
                self.note(node, f"{node.attr.value}: {ATTRIBUTES[package][node.attr.value]}")
        for found in self.get_metadata(QualifiedNameProvider, node, ()):
            if found.source is QualifiedNameSource.IMPORT:
                self._check_library(node, found.name)
                name = found.name.rpartition(".")[2]
                if found.name == f"{SOURCE}.{name}" and name not in self.chosen and (text := advise_on_name(name)):
                    self.note(node, f"{name}: {text}")

    def _is_imported(self, node: cst.Attribute) -> bool:
        return any(
            found.source is QualifiedNameSource.IMPORT for found in self.get_metadata(QualifiedNameProvider, node, ())
        )

    def _check_library(self, node: cst.CSTNode, name: str) -> None:
        for known, text in LIBRARIES.items():
            if name == known or name.startswith(f"{known}."):
                self.note(node, f"{known}: {text}")
                return

    def visit_Call(self, node: cst.Call) -> None:  # noqa: N802
        """Note arguments that are refused."""
        method = node.func.attr.value if isinstance(node.func, cst.Attribute) else ""
        is_optimizer = any(
            ".keras.optimizers." in f".{found.name}"
            for found in self.get_metadata(QualifiedNameProvider, node.func, ())
        )
        for argument in node.args:
            keyword = "" if argument.keyword is None else argument.keyword.value
            is_set = not (isinstance(argument.value, cst.Name) and argument.value.value in ("None", "False"))
            is_refused = keyword in UNSUPPORTED and not (keyword in PYTORCH and "roberta_pt" in self.packages)
            if method == "from_pretrained" and self.packages and is_set and is_refused:
                self.note(argument, f"{keyword} is refused: {UNSUPPORTED[keyword]}")
            if is_optimizer and keyword in OPTIMIZER_ARGUMENTS:
                self.note(argument, f"{keyword}: {OPTIMIZER_ARGUMENTS[keyword]}")
        if find_first_text(node) == SOURCE and (method or getattr(node.func, "value", "")) in (
            "import_module",
            "__import__",
        ):
            self.note(node, "a module that is imported by its name in a string is not replaced")
        if isinstance(node.func, cst.Name) and node.func.value == "getattr" and node.args:
            first = node.args[0].value
            if isinstance(first, cst.Name) and first.value == SOURCE:
                self.note(node, "names that are looked up with getattr are not replaced")

    def visit_SimpleString(self, node: cst.SimpleString) -> None:  # noqa: N802
        """Note strings that name a class of transformers, or set tf-keras."""
        text = str(node.evaluated_value)
        if text == LEGACY_KERAS:
            self.note(node, f"remove {LEGACY_KERAS}: the TensorFlow classes are Keras 3 models")
        module, _, name = text.rpartition(".")
        if module.partition(".")[0] == SOURCE and name in KNOWN:
            self.note(node, f"the string {text!r} is not replaced")

    # Replacements ----------------------------------------------------------------------------------------------------

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:  # noqa: N802
        """Replace `transformers.Name`."""
        name = find_name(self, original_node)
        root: Any = original_node
        while isinstance(root, cst.Attribute):
            root = root.value
        if name not in self.chosen or not isinstance(root, cst.Name) or root.value not in self.roots:
            return updated_node
        new = self.chosen[name]
        self.roots[root.value][-1].add(new.module)
        return cst.parse_expression(f"{new.module}.{new.name}").with_changes(
            lpar=updated_node.lpar, rpar=updated_node.rpar
        )

    def replace_import(self, node: Small) -> list[Small] | None:
        """Return what replaces `from transformers import ...` or a removed call; None if the statement stays."""
        if self._is_removed_call(node):
            return []
        if not isinstance(node, cst.ImportFrom):
            return None
        aliases = list_aliases(node)
        moved = [alias for alias in aliases if alias.evaluated_name in self.chosen]
        removed = [alias for alias in aliases if self.chosen and alias.evaluated_name in REMOVED]
        stay = [alias for alias in aliases if alias not in moved and alias not in removed]
        for alias in stay:
            text = advise_on_name(alias.evaluated_name)
            if text:
                self.note(alias, f"{alias.evaluated_name}: {text}")
        if not moved and not removed:
            return None
        made: dict[str, list[str]] = {}
        for alias in moved:
            new = self.chosen[alias.evaluated_name]
            bound = alias.evaluated_alias or alias.evaluated_name
            made.setdefault(new.module, []).append(new.name if new.name == bound else f"{new.name} as {bound}")
        statements = [_build_import(module, made[module]) for module in sorted(made)]
        if not stay:
            return statements
        last = stay[-1].with_changes(comma=aliases[-1].comma if node.lpar else cst.MaybeSentinel.DEFAULT)
        return [node.with_changes(names=[*stay[:-1], last]), *statements]

    def _is_removed_call(self, node: Small) -> bool:
        """Return whether a statement only calls a function that transformers 4.57.6 lacks."""
        if not (self.chosen and isinstance(node, cst.Expr) and isinstance(node.value, cst.Call)):
            return False
        return any(
            found.source is QualifiedNameSource.IMPORT
            and found.name.partition(".")[0] == SOURCE
            and found.name.rpartition(".")[2] in REMOVED
            for found in self.get_metadata(QualifiedNameProvider, node.value.func, ())
        )


class ModuleReplacer(ImportReplacer):
    """Replaces `import transformers`, once it is known which modules replace its uses (`Rewriter.roots`)."""

    def __init__(self, roots: dict[str, list[set[str]]]) -> None:
        super().__init__()
        self.roots = roots
        self.stays: list[str] = []

    def replace_import(self, node: Small) -> list[Small] | None:
        """Return the statements that replace an import of a module; None if it stays."""
        if not isinstance(node, cst.Import | cst.ImportFrom) or isinstance(node.names, cst.ImportStar):
            return None
        new: set[str] = set()
        stay: list[cst.ImportAlias] = []
        is_module = isinstance(node, cst.Import)
        for alias in node.names if is_module else list_aliases(node):
            root = alias.evaluated_alias or alias.evaluated_name.partition(".")[0]
            uses = self.roots.get(root, []) if not is_module or alias.evaluated_name.partition(".")[0] == SOURCE else []
            modules: set[str] = set().union(*uses)
            new |= modules
            if not modules or not all(uses) or not is_module:
                stay.append(alias)
                if is_module and alias.evaluated_name.partition(".")[0] == SOURCE:
                    self.stays.append(f"the module {alias.evaluated_name}")
        if not new:
            return None
        imports: list[Small] = [cst.Import([cst.ImportAlias(_parse_name(module))]) for module in sorted(new)]
        if is_module and stay:
            stay[-1] = stay[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            node = node.with_changes(names=stay)
        return [node, *imports] if stay else imports


def _parse_name(name: str) -> Any:
    return cst.parse_expression(name)


def _build_import(module: str, names: list[str]) -> Small:
    """Return an import statement, on several lines if it is long."""
    text = f"from {module} import {', '.join(names)}"
    if len(text) > WIDTH:
        text = f"from {module} import (\n{''.join(f'    {name},{chr(10)}' for name in names)})"
    statement: Any = cst.parse_statement(text)
    return statement.body[0]


def find_first_text(node: cst.Call) -> str | None:
    """Return the top package that the first argument of a call names as a string, None if it is no string."""
    value = node.args[0].value if node.args else None
    return str(value.evaluated_value).partition(".")[0] if isinstance(value, cst.SimpleString) else None
