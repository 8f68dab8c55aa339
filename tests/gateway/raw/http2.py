"""HTTP/2 by hand over one connection, with headers that a proper client would not send."""

import socket
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from tests.gateway.raw.connection import TIMEOUT
from tests.gateway.wire import Answer

RESET, GONE = "stream reset", "connection ended"
Http2Headers = Sequence[tuple[str, str]]


def head(*more: tuple[str, str], path: str = "/v1/chat/completions", method: str = "POST") -> Http2Headers:
    """The headers of a call, and more."""
    pseudo = [(":method", method), (":scheme", "http"), (":authority", "api.example.com"), (":path", path)]
    return [*pseudo, ("content-type", "application/json"), *more]


def exchange(port: int, calls: Sequence[tuple[Http2Headers, bytes | list[bytes], Http2Headers]]) -> list[Answer | str]:
    """Send calls (headers, body, trailers) as streams of one connection; what came of each.

    A body may be given as what each of its frames holds.
    """
    client = H2Connection(
        H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="latin-1")
    )
    answers: dict[int, Answer] = {}
    ended: dict[int, str] = {}
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        client.initiate_connection()
        streams = []
        for headers, body, trailers in calls:
            stream = client.get_next_available_stream_id()
            streams.append(stream)
            client.send_headers(stream, headers, end_stream=not body and not trailers)
            frames = body if isinstance(body, list) else [body] if body else []
            for number, frame in enumerate(frames, 1):
                client.send_data(stream, frame, end_stream=not trailers and number == len(frames))
            if trailers:
                client.send_headers(stream, trailers, end_stream=True)
        connection.sendall(client.data_to_send())
        while set(streams) - ended.keys():
            data = connection.recv(65536)
            for event in client.receive_data(data) if data else [ConnectionTerminated()]:
                if isinstance(event, ResponseReceived):
                    pairs = [(str(name), str(value)) for name, value in event.headers]
                    answers[event.stream_id] = Answer(int(dict(pairs)[":status"]), pairs, b"")
                elif isinstance(event, DataReceived):
                    before = answers[event.stream_id]
                    answers[event.stream_id] = Answer(before.status, before.headers, before.body + event.data)
                elif isinstance(event, StreamEnded):
                    ended[event.stream_id] = ""
                elif isinstance(event, StreamReset):
                    # An answer that has come whole stays one: a server may reset what it need not read.
                    ended.setdefault(event.stream_id, RESET)
                elif isinstance(event, ConnectionTerminated):
                    ended = dict.fromkeys(streams, GONE) | ended
            connection.sendall(client.data_to_send())
    return [ended[stream] or answers[stream] for stream in streams]
