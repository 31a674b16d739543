"""Data sets: images and brain responses, read by one adapter module per kind of source."""
