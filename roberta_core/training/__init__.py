"""Pretraining and fine-tuning in any framework: recipes, schedule, loops, logs and training checkpoints."""
