"""Pretraining: the recipe, the schedule, the loop and its checkpoints, for any framework that supplies the steps."""
