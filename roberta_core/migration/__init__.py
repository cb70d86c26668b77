"""Convert scripts for transformers 4.57.6: replace their imports, and list by line what else has to change."""

from roberta_core.migration.script import Migration, Note, migrate

__all__ = ["Migration", "Note", "migrate"]
