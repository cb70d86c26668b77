"""Export every class in every format, for the table in docs/export.md."""
