"""The model-card template; see README.md."""
