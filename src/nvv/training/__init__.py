"""Training: arguments, data loading, tuning methods, the trainer, and what a run leaves behind."""
