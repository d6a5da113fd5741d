"""Repositories for the Hub: models with their cards, and prepared corpora with theirs."""
