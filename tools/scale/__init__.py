"""Measure and torture `bitnet-tt scale`; see README.md in this folder."""
