"""Serve one model from many workers, on one machine or several: extra `scale`, on NVIDIA Dynamo's runtime.

A frontend is our server, whose texts are computed by workers. A worker is an engine that Dynamo's runtime makes known
and reachable. A text whose worker is lost goes on at another one, byte for byte.
"""
