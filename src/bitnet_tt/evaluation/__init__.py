"""How good a model is: the perplexity of a text."""
