"""The measurements and tables of the page on performance."""
