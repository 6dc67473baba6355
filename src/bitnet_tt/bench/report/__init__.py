"""The results of a benchmark, and how they are shown: tables, JSON fields, a picture."""
