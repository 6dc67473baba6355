"""Train a BitNet of your own, or train one further. See docs/training.md."""
