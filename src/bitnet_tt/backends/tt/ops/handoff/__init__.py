"""Hand rows of hidden states and token ids from one card to another."""
