import pytest
from huggingface_hub.errors import HfHubHTTPError

from nvv.hub.client_errors import CLIENT_FAILURES, describe_failure


@pytest.mark.parametrize("error", [HfHubHTTPError, OSError, ConnectionError, RuntimeError])
def test_what_the_client_raises_is_a_failure(error):
    assert issubclass(error, CLIENT_FAILURES)


def test_mistakes_in_code_are_no_failures():
    assert not issubclass(TypeError, CLIENT_FAILURES)


def test_cause_is_told_where_the_client_wrapped_it():
    wrapped = RuntimeError("Error while uploading\n 'a.parquet'")
    wrapped.__cause__ = ConnectionError("reset\nby peer")
    assert describe_failure(wrapped) == (
        "RuntimeError: Error while uploading 'a.parquet'; ConnectionError: reset by peer"
    )
    assert describe_failure(OSError("no route")) == "OSError: no route"
