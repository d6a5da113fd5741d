"""One module for each subcommand of `nvv`: its arguments, one call of the library, and what is printed. Own work."""
