"""Telecine: fal's video router on your own machine. Importing it starts nothing."""

__version__ = "0.1.0"
