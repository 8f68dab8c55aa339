"""The bytes of `AggregatedDiscoveryService.StreamAggregatedResources`.

Requests are read field by field in the place of the generated class: Envoy cuts long error messages at a byte count,
perhaps inside a character, and protobuf refuses a whole message for one broken character.
"""

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from tomoul.gateway.agent.stream import Request, Response

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "StreamAggregatedResources"

# Field numbers of envoy.service.discovery.v3.DiscoveryRequest and of google.rpc.Status.
_VERSION_INFO, _RESOURCE_NAMES, _TYPE_URL, _RESPONSE_NONCE, _ERROR_DETAIL = 1, 3, 4, 5, 6
_MESSAGE = 2


def decode_request(data: bytes) -> Request:
    """A DiscoveryRequest; raises DecodeError for bytes that are no protobuf message."""
    fields = _fields(data)
    errors = fields.get(_ERROR_DETAIL)
    return Request(
        type_url=_text(fields, _TYPE_URL),
        names=tuple(name.decode() for name in fields.get(_RESOURCE_NAMES, ())),
        nonce=_text(fields, _RESPONSE_NONCE),
        version=_text(fields, _VERSION_INFO),
        error=_text(_fields(errors[-1]), _MESSAGE) if errors else None,
    )


def encode_response(response: Response) -> bytes:
    """A DiscoveryResponse."""
    message = DiscoveryResponse(version_info=response.version, type_url=str(response.type_url), nonce=response.nonce)
    for resource in response.resources:
        message.resources.add(type_url=str(response.type_url), value=resource)
    return bytes(message.SerializeToString())


def _fields(data: bytes) -> dict[int, list[bytes]]:
    """Strings and messages of a message by field number."""
    fields: dict[int, list[bytes]] = {}
    unknown = UnknownFieldSet(Empty.FromString(data))
    for field in (unknown[index] for index in range(len(unknown))):
        if isinstance(field.data, bytes):
            fields.setdefault(field.field_number, []).append(field.data)
    return fields


def _text(fields: dict[int, list[bytes]], number: int) -> str:
    values = fields.get(number)
    return values[-1].decode(errors="replace") if values else ""
