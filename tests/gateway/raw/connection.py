"""HTTP/1.1 by hand: a test writes every byte of a connection, and reads each message that comes back."""

import socket
from types import TracebackType

from tests.gateway.wire import Answer

TIMEOUT = 20.0


class Connection:
    """A connection to a gateway."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def finish_sending(self) -> None:
        """Close this side only."""
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self) -> Answer | None:
        """The next message; None if the gateway has closed the connection."""
        try:
            status_line = self._file.readline()
        except ConnectionResetError:
            return None
        if not status_line:
            return None
        headers = []
        while (line := self._file.readline().decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        status, named = int(status_line.split()[1]), dict(headers)
        if named.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._chunks())
        return Answer(status, headers, self._file.read(int(named.get("content-length", 0))))

    def answers(self) -> list[Answer]:
        """All messages until the gateway closes the connection."""
        return list(iter(self.answer, None))

    def rest(self) -> bytes:
        """All bytes until the gateway closes the connection."""
        return self._file.read()

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            self._file.readline()
        self._file.readline()
        return body


CHAT = "POST /v1/chat/completions HTTP/1.1"


def chat_body(user: str, model: str = "acme/both") -> bytes:
    """A call that `user` tells apart from all others."""
    return b'{"model":"%s","messages":[{}],"user":"%s"}' % (model.encode(), user.encode())


def request(*headers: str, body: bytes = b"", line: str = CHAT) -> bytes:
    """A request with exactly these header lines, and what is missing of Host, Content-Type and the body's length."""
    names = [header.partition(":")[0].strip().lower() for header in headers]
    lines = [line, *headers]
    if "host" not in names:
        lines.insert(1, "Host: api.example.com")
    if "content-type" not in names:
        lines.append("Content-Type: application/json")
    if not {"content-length", "transfer-encoding"} & set(names):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*parts: bytes, trailers: bytes = b"") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"
