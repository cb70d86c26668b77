"""Implementation of `roberta bench`, which times the encoder of each framework and of other implementations."""
