"""Text classification over real sentences, beside the pipeline of transformers."""
