"""Redo any run from its recipe, and say with proof whether it came out the same."""
