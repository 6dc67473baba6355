"""The results of a benchmark, and how they are shown: as tables, as JSON, as a picture."""
