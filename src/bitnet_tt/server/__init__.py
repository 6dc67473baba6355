"""The OpenAI-compatible server (extra `[server]`)."""
