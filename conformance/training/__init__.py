"""Compare training in each framework with the same training in float64."""
