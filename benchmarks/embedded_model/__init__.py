"""How the embedded model was made, and what it is compared with."""
