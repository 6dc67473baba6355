"""Fetches the JavaScript libraries of the chat page and records them in a manifest."""
