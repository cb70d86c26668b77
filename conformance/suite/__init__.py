"""The suite: cases, the comparison with the float64 model, and running implementations on cases or checkpoints."""
