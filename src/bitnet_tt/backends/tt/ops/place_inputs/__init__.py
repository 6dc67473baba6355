"""Put the inputs of a decode step in place."""
