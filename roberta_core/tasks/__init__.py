"""What a model is used for, from text to answers, over any framework."""
