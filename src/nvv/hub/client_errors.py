"""How the Hub's client fails, and how to say so in one line."""

from __future__ import annotations

from huggingface_hub.errors import HfHubHTTPError

__all__ = ["CLIENT_FAILURES", "describe_failure"]

# The HTTP library's own base error, and OSError. That library's name differs between versions of huggingface_hub, so it
# is not imported; a refused connection is an error of the first kind, being offline or without a token of the second.
# The client wraps what happens to a single large file in a RuntimeError.
CLIENT_FAILURES: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, RuntimeError)


def describe_failure(error: BaseException) -> str:
    """Return an error's kind and text in one line, with the cause where the client wrapped one."""
    causes = [error, *([error.__cause__] if type(error) is RuntimeError and error.__cause__ else [])]
    return "; ".join(f"{type(cause).__name__}: {' '.join(str(cause).split())}" for cause in causes)
