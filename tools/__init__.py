"""Programs for developers, run from the clone. They are not part of the package."""
