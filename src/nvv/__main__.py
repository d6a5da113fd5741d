"""`python -m nvv`: the `nvv` command, for launchers that start modules (accelerate, torchrun)."""

from .cli import main

if __name__ == "__main__":
    main()
