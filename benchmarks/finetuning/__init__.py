"""Quality of fine-tuning on real data: every framework, the Trainer of transformers, and simple baselines."""
