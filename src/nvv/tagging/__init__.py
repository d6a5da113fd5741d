"""Labels for whole datasets, in shards that processes share and that a later run goes on with. Own work."""
