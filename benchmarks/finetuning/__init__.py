"""Fine-tuning on real data: every framework, transformers' Trainer, and simple baselines, on the same data."""
