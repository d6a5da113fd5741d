"""Makes the Hub's client try every request again that failed for the moment, by its own rules.

The client retries the parts of an upload by itself (`http_backoff`: 408, 429, 5xx, lost connections; five times, after
as many seconds as ``Retry-After`` says, or 1, 2, 4, 8 and 8), but not the rest of a push: who am I, making the
repository or the branch, asking what is there, and the commit. Here those go through the same function. Own work.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import set_client_factory
from huggingface_hub.utils import _http, http_backoff

__all__ = ["retrying_requests"]

_METHODS = ("get", "post")  # all that a push sends but uploads, which the client retries itself
_LOCK = threading.RLock()


@contextmanager
def retrying_requests() -> Iterator[None]:
    """Let the client of this process retry its requests until the block ends.

    A commit is such a request: where its answer was lost, it is sent twice. Whoever commits names the parent, so that
    the Hub refuses the second one; see `nvv.hub.commits`.

    Example:
        >>> with retrying_requests():  # doctest: +SKIP
        ...     HfApi().create_repo("me/laughs", exist_ok=True)
    """
    with _LOCK:  # the client's factory is one for the process
        # Somebody may have set a factory of their own, for a proxy; the client has no public way to ask for it.
        make_client = getattr(_http, "_GLOBAL_CLIENT_FACTORY", _http.default_client_factory)
        set_client_factory(functools.partial(_retrying_client, make_client))
        try:
            yield
        finally:
            set_client_factory(make_client)


def _retrying_client(make_client: Callable[[], Any]) -> Any:
    """Make a client whose requests go through `http_backoff`, which sends them by the same client's `request`."""
    client = make_client()
    for method in _METHODS:
        setattr(client, method, functools.partial(http_backoff, method.upper()))
    return client
