"""How good a model is: the perplexity of a text, and the model `bitnet-tt` of lm-evaluation-harness."""
