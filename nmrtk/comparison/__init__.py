"""Comparing recipes: each is trained with several seeds, and measured on the same molecules."""
