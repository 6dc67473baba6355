"""Turn the inputs of a decode step into those of the next one."""
