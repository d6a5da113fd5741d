"""Loading scripts, one folder a corpus; installed as ``nvv.dataset_scripts``."""
