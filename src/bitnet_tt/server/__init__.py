"""The HTTP server `bitnet-tt serve` (extra `server`): other programs' APIs over the one engine.

Nothing below this room imports it, so that the core installs and starts without web packages.
"""
