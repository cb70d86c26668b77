"""Everything that the page on performance shows, measured again by one command."""
