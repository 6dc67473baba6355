"""The model on the card: one file for each part."""
