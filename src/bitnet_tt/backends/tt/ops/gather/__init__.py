"""Make rows whole of which each of two cards has some columns."""
