"""HTTP/2 by hand over one connection, with headers that a proper client would not send."""

import socket
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

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


class Upload:
    """A connection whose streams send their bodies by and by."""

    def __init__(self, port: int) -> None:
        self._client = H2Connection(H2Configuration(header_encoding="latin-1"))
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._left: dict[int, bytes] = {}
        self.answers: dict[int, Answer] = {}
        self.ended: dict[int, str] = {}
        """How a stream has ended: empty for an answer that came whole."""
        self._client.initiate_connection()
        self._take_turns()

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, headers: Http2Headers, body: bytes, window: int) -> None:
        """A small call at once, of whose answer so many bytes may come without being read."""
        self._client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._client.increment_flow_control_window(window)
        stream = self._client.get_next_available_stream_id()
        self._client.send_headers(stream, headers)
        self._client.send_data(stream, body, end_stream=True)
        self._socket.sendall(self._client.data_to_send())

    def begin(self, headers: Http2Headers, body: bytes) -> int:
        """A stream whose body goes out as the other side takes it, without an end until `finish`."""
        stream = self._client.get_next_available_stream_id()
        self._client.send_headers(stream, headers)
        self._left[stream] = body
        return stream

    def push(self) -> None:
        """Send until nothing is left that the other side takes."""
        while any(self._left.values()):
            for stream, body in self._left.items():
                size = min(self._client.local_flow_control_window(stream), self._client.max_outbound_frame_size)
                if body and size > 0:
                    self._client.send_data(stream, body[:size])
                    self._left[stream] = body[size:]
            if data := self._client.data_to_send():
                self._socket.sendall(data)
            else:
                self._take_turns()

    def finish(self, stream: int) -> Answer | str:
        """End a stream's body; its answer, or how it ended without one."""
        self.push()
        if stream not in self.ended:
            self._client.end_stream(stream)
        return self.wait(stream)

    def wait(self, stream: int) -> Answer | str:
        """How a stream ends."""
        while stream not in self.ended:
            self._take_turns()
        return self.ended[stream] or self.answers[stream]

    def _take_turns(self) -> None:
        self._socket.sendall(self._client.data_to_send())
        for event in self._client.receive_data(self._socket.recv(65536)):
            if isinstance(event, ResponseReceived):
                pairs = [(str(name), str(value)) for name, value in event.headers]
                self.answers[event.stream_id] = Answer(int(dict(pairs)[":status"]), pairs, b"")
            elif isinstance(event, DataReceived):
                before = self.answers[event.stream_id]
                self.answers[event.stream_id] = Answer(before.status, before.headers, before.body + event.data)
                self._client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.ended.setdefault(event.stream_id, "")
            elif isinstance(event, StreamReset):
                self.ended.setdefault(event.stream_id, RESET)
                self._left.pop(event.stream_id, None)
        self._socket.sendall(self._client.data_to_send())
