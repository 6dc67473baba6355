"""Generates the training text of the demo model from templates: stories, prose and conversations."""
