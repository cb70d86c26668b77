"""How fast the models are beside what a user would pick instead: one run, the same weights and inputs, interleaved."""
