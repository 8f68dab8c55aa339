"""One table, two judges: the models offline and a real API server accept and refuse the same, for the same reason."""

import pytest

from tests.api.cases import Case, cases
from tests.api.judges import causes, create
from tests.controlplane.api import ApiError
from tests.controlplane.harness import ControlPlane
from tomoul.api.manifest import InvalidResource, parse_resource


@pytest.mark.parametrize("case", cases("accepted"))
def test_the_models_accept(case: Case) -> None:
    assert parse_resource(case.object).metadata.name == case.object["metadata"]["name"]


@pytest.mark.parametrize("case", cases("refused"))
def test_the_models_refuse(case: Case) -> None:
    with pytest.raises(InvalidResource) as refusal:
        parse_resource(case.object)
    messages = [error.message for error in refusal.value.errors if error.field == case.field]
    assert messages, refusal.value.errors
    assert any(case.words in message and case.offline in message for message in messages), messages


@pytest.mark.parametrize("case", cases("accepted"))
def test_the_api_server_accepts(case: Case, control_plane: ControlPlane) -> None:
    stored = create(control_plane, case.object)
    # What it stores, with its defaults, means what the object meant.
    assert parse_resource(stored).spec == parse_resource(case.object).spec


@pytest.mark.parametrize("case", cases("refused"))
def test_the_api_server_refuses(case: Case, control_plane: ControlPlane) -> None:
    with pytest.raises(ApiError) as refusal:
        create(control_plane, case.object)
    assert refusal.value.status in (400, 422)
    messages = [message for field, message in causes(refusal.value) if field == case.field]
    assert messages, f"{refusal.value}"
    assert any(case.words in message and case.server in message for message in messages), messages
