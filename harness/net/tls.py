"""TLS for engines that never block: a socket's interface around OpenSSL and a non-blocking socket.

Encrypted bytes go through memory, so that reads keep the kernel's time stamps and the readiness of
the plain socket stays what an engine waits for. Certificates are checked as `harness.targets` says.
HTTP/1.1 alone is offered. About 50 KB of memory and half a millisecond of handshake a connection.
"""

import _socket
import ssl
import tempfile
import time
from collections.abc import Callable
from typing import Any

from harness.net.readiness import EPOLLIN, EPOLLOUT, Readiness
from harness.targets.description import HTTP2, Description, Tls

HANDSHAKES_NS = 3_000_000
"""What a turn of an engine may spend on handshakes: the others go on at its next turn."""
_READ_BYTES = 256 * 1024


class BadTls(OSError):
    """Certificates or keys that cannot be used."""


def context_of(tls: Tls) -> ssl.SSLContext:
    """What connections to a server have in common. Raises BadTls."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        if tls.ca:
            context.load_verify_locations(cadata=tls.ca)
        if tls.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert:
            _load_chain(context, tls)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise BadTls(f"[tls] cannot be used: {reason_of_tls(error)}") from None
    return context


def _load_chain(context: ssl.SSLContext, tls: Tls) -> None:
    # OpenSSL reads a chain from files only; this one is gone before anybody else can see it.
    with tempfile.NamedTemporaryFile("w", prefix="scoreboard-tls-") as file:
        file.write(tls.cert + "\n" + tls.key)
        file.flush()
        context.load_cert_chain(file.name, password=lambda: tls.key_password)


def server_name(server: Description) -> str:
    """The name that the server's certificate must have, which is sent to it, too (SNI)."""
    return server.tls.server_name or server.address.host


def reason_of_tls(error: Exception) -> str:
    """Why TLS failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        told = error.verify_message
        return f"its certificate is not trusted: {told} ([tls] ca_file, server_name)"
    if isinstance(error, ssl.SSLError):
        if "NO_APPLICATION_PROTOCOL" in str(error.reason):
            return HTTP2
        if "CERTIFICATE_REQUIRED" in str(error.reason) or "HANDSHAKE_FAILURE" in str(error.reason):
            return f"TLS: {error.reason} (a client certificate? [tls] cert_file, key_file)"
        if "WRONG_VERSION_NUMBER" in str(error.reason):
            return "it does not speak TLS there: is it http:// instead of https://?"
        return f"TLS: {error.reason or error}"
    return str(error)


class TlsSocket:
    """A non-blocking socket that speaks TLS. `handshake` comes before the first send.

    `send` reports the last byte as sent only when all encrypted bytes are, so its caller's way of
    sending the rest later works as with a plain socket.
    """

    def __init__(self, sock: _socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._unsent = b""
        self._owes = False
        self.fileno = sock.fileno
        self.getsockopt = sock.getsockopt
        self.setsockopt = sock.setsockopt

    @property
    def wants_to_send(self) -> bool:
        """Encrypted bytes wait for room in the socket."""
        return bool(self._unsent)

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done. Raises OSError."""
        if not self._flush():
            return False
        try:
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionResetError("closed during the handshake")
            self._in.write(data)
        except BlockingIOError:
            pass
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            # The server is told why.
            self._flush()
            raise
        return self._flush()

    def recv(self, size: int) -> bytes:
        """All decrypted bytes of one read; empty at the end. Raises BlockingIOError, OSError."""
        return self._decrypted(self._sock.recv(size))

    def recvmsg(self, size: int, ancillary: int) -> tuple[bytes, list[Any], int, Any]:
        """The same with the ancillary data of the encrypted bytes, as the kernel's time stamp."""
        data, found, flags, address = self._sock.recvmsg(size, ancillary)
        return self._decrypted(data), found, flags, address

    def send(self, data: bytes) -> int:
        """Encrypt and send; see the class. Raises BlockingIOError, OSError."""
        if not self._flush():
            raise BlockingIOError
        if self._owes:
            self._owes = False
            return len(data)
        self._tls.write(data)
        if self._flush():
            return len(data)
        self._owes = True
        return len(data) - 1

    def close(self) -> None:
        """Close the socket at once."""
        self._sock.close()

    def _decrypted(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._in.write(data)
        parts = []
        try:
            while part := self._tls.read(_READ_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            # Keys that change need an answer.
            self._flush()
            if not parts:
                raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(parts)

    def _flush(self) -> bool:
        if self._out.pending:
            self._unsent += self._out.read()
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
        return True


AnySocket = _socket.socket | TlsSocket
Wrap = Callable[[_socket.socket], TlsSocket]


def wrapper(server: Description | None) -> Wrap | None:
    """Makes TLS sockets for a server, None for one that speaks none. Raises BadTls."""
    if server is None or not server.address.secure:
        return None
    context, name = context_of(server.tls), server_name(server)
    return lambda sock: TlsSocket(sock, context, name)


class Handshakes:
    """Shares an engine's time between handshakes and everything else."""

    def __init__(self, ready: Readiness) -> None:
        self._ready = ready
        self._spent_ns = 0

    def begin_turn(self) -> None:
        """A turn of the engine begins."""
        self._spent_ns = 0

    def advance(self, sock: AnySocket) -> bool:
        """Whether a connection may send; a handshake goes on if there is time. Raises OSError.

        One that got no time is still ready, and so comes back in the next turn.
        """
        if not isinstance(sock, TlsSocket):
            return True
        if self._spent_ns > HANDSHAKES_NS:
            return False
        began = time.monotonic_ns()
        done = sock.handshake()
        self._spent_ns += time.monotonic_ns() - began
        if not done:
            waits = EPOLLIN | (EPOLLOUT if sock.wants_to_send else 0)
            self._ready.modify(sock.fileno(), waits)
        return done
