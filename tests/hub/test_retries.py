import huggingface_hub
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from nvv.hub.retries import retrying_requests


def test_requests_are_retried_within_the_block_only(hub):
    hub.create("ada/x", kind="model")
    hub.fail_next("GET", "/api/models/ada/x", status=503)
    with retrying_requests():
        assert HfApi().model_info("ada/x").id == "ada/x"
    assert [request.status for request in hub.requests("GET", "/api/models/ada/x")] == [503, 200]
    hub.fail_next("GET", "/api/models/ada/x", status=503)
    with pytest.raises(HfHubHTTPError, match="503"):
        HfApi().model_info("ada/x")


@pytest.mark.parametrize("status", [401, 403, 404, 409])
def test_refusals_are_not_retried(status, hub):
    hub.create("ada/x", kind="model")
    hub.fail_next("GET", "/api/models/ada/x", status=status)
    with retrying_requests(), pytest.raises(HfHubHTTPError):
        HfApi().model_info("ada/x")
    assert len(hub.requests("GET", "/api/models/ada/x")) == 1


def test_attempts_end_with_the_clients_own_error(hub):
    hub.fail_next("GET", "/api/whoami", times=99, status=500)
    with retrying_requests(), pytest.raises(HfHubHTTPError, match="500"):
        HfApi().whoami()
    assert len(hub.requests("GET", "/api/whoami")) == 6  # the client's default: five more


def test_own_client_factory_is_used_and_put_back(hub):
    made = []

    def factory():
        made.append(huggingface_hub.utils._http.default_client_factory())
        return made[-1]

    huggingface_hub.set_client_factory(factory)
    try:
        with retrying_requests(), retrying_requests():
            HfApi().whoami()
            assert get_session() is made[-1]
        assert "get" not in vars(get_session())  # a client as it was
        assert get_session() is made[-1]
    finally:
        huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)


def test_block_ends_as_before_when_it_fails(hub):
    with pytest.raises(KeyError), retrying_requests():
        raise KeyError("x")
    assert "get" not in vars(get_session())
