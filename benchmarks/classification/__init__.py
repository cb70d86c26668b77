"""Speed of text classification on real sentences, compared with the pipeline of transformers."""
