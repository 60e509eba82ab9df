"""One run and what it leaves."""
