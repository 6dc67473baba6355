"""Measure what `bitnet-tt serve` costs beside the engine alone; see README.md in this folder."""
