"""Reports: JSON, JUnit XML, tables and an HTML page."""
