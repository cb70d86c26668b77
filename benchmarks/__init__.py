"""Measurements of speed and quality, compared with the alternatives of a user."""
