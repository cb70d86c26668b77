"""Speed of the pipelines of each task on texts of mixed lengths, compared with those of transformers 4.57.6."""
