"""How fast a training step is, in each framework and beside what a user would take instead."""
