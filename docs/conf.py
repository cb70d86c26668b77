"""How the documentation is built; a warning is an error."""

project = "triberta"
author = "the triberta authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "triberta"
myst_heading_anchors = 3
nitpicky = True
