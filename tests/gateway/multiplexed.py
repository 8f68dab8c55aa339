"""Calls as streams of one HTTP/2 connection, each of which its client may reset at any time."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError


class Multiplexed:
    """A connection, made at its first call."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: dict[int, asyncio.Queue[Event]] = {}
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._ready = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def call(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncGenerator[Mapping[str, str] | bytes]:
        """The answer's headers, then its body in pieces. ConnectionError where it is cut."""
        async with self._ready:
            if self._reading is None:
                reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._h2.initiate_connection()
                self._h2.increment_flow_control_window(2**30)
                self._reading = asyncio.create_task(self._read(reader))
        stream, events = self._h2.get_next_available_stream_id(), asyncio.Queue[Event]()
        self._streams[stream] = events
        head = {":method": "POST", ":scheme": "http", ":authority": "a", ":path": path, **headers}
        self._h2.send_headers(stream, [*head.items()])
        self._h2.send_data(stream, body, end_stream=True)
        self._send()
        over = False
        try:
            while not over:
                event = await events.get()
                over = isinstance(event, StreamEnded | StreamReset | ConnectionTerminated)
                if isinstance(event, ResponseReceived):
                    yield {str(key): str(value) for key, value in event.headers}
                elif isinstance(event, DataReceived):
                    yield event.data
                elif over and not isinstance(event, StreamEnded):
                    raise ConnectionError(event)
        finally:
            del self._streams[stream]
            if not over:
                with suppress(ProtocolError):
                    self._h2.reset_stream(stream, ErrorCodes.CANCEL)
                self._send()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                for event in self._h2.receive_data(data):
                    if isinstance(event, DataReceived):
                        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    if events := self._streams.get(getattr(event, "stream_id", 0) or 0):
                        events.put_nowait(event)
                self._send()
        for events in self._streams.values():
            events.put_nowait(ConnectionTerminated())

    def _send(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def close(self) -> None:
        if self._reading:
            self._writer.close()
            await self._reading
