"""The demo model's own training text, generated from templates: stories, prose, and conversations."""
