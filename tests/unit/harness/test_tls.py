"""The engines over TLS: certificates are checked, handshakes share the time, bytes are the same."""

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from harness.engines.standalone import drive
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.net.sse_parser import Reading
from harness.net.target import Target, get_scores
from harness.net.tls import BadTls, TlsSocket, context_of, wrapper
from harness.targets.answers import AnswerReader, event_reader
from harness.targets.description import Description, Tls
from harness.targets.requests import StreamRequests, Submissions
from harness.targets.target_file import describe
from harness.targets.users import user_values
from tests.support.foreign_server import KeyedScores, serving
from tests.support.tls_proxy import Authority

NS = 1_000_000_000
FILE = """
headers = { X-Api-Key = "k-123" }
[submit]
path = "/v1/add"
form = { user = "u-17", add = "{increment}" }
headers = { X-Pin = "pin-u-17" }
[scores]
path = "/v1/top"
user = "[0]"
score = "[1]"
[stream]
path = "/v1/events"
query = { key = "k-123" }
events = ["message"]
user = "[0]"
score = "[1]"
"""


def server_context(folder: Path, *, clients: bool = False) -> tuple[ssl.SSLContext, Authority]:
    authority = Authority(folder, "ca")
    identity = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert, identity.key)
    if clients:
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context, authority


def described(url: str, folder: Path, tls: str) -> Description:
    return describe(f'url = "{url}"\n{FILE}[tls]\n{tls}\n', folder, {})


def test_both_engines_measure_a_server_with_a_private_authority(tmp_path: Path) -> None:
    context, _ = server_context(tmp_path, clients=True)
    client = Authority(tmp_path, "ca2").issue("client")
    context.load_verify_locations(tmp_path / "ca2.pem")
    keyed = KeyedScores()
    tls = f'ca_file = "ca.pem"\ncert_file = "{client.cert.name}"\nkey_file = "{client.key.name}"'
    with serving(keyed, context) as url:
        server = described(url, tmp_path, tls)
        target = Target(base_url=url, server=server)
        users = user_values(server, 1, int(time.time()))
        streams = StreamRequests(server)
        zero = time.time_ns()
        swarm = Swarm(
            SwarmSettings(
                address=target.address,
                host_header=target.host_header,
                listeners=12,
                start_unix_ns=zero,
                wrap=wrapper(server),
                request=lambda _, after: streams.make(users[1], after),
                reading=Reading(event_reader(server.stream)),
            )
        )
        assert drive([swarm], lambda: swarm.streaming == 12, timeout_s=20)
        start = time.monotonic_ns()
        sender = Submitter(
            SubmitterSettings(
                address=target.address, start_ns=start, zero_ns=start, wrap=wrapper(server)
            ),
            iter([(n, n * NS // 100) for n in range(20)]),
            lambda _: (1, 1),
            Submissions(server, users, run_id="r").make,
            read_answer=AnswerReader(server.submit).read,
        )
        assert drive([sender, swarm], lambda: sender.finished, timeout_s=20)
        quiet_from = time.monotonic()
        drive([swarm], lambda: time.monotonic() > quiet_from + 0.1, timeout_s=1)
        page = get_scores(target)
        swarm.close()
        sender.close()

    assert sender.series.total("ok") == 20
    assert page.rows == [("Ann", 20)]
    assert keyed.seen["stream"] == 12
    assert swarm.series.total("connects") == 12
    assert swarm.series.total("disconnects") == 0
    event = len(b'event: message\ndata: ["Ann", 10]\n\n')
    assert swarm.series.total("bytes") >= 11 * 12 * event


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ("", "certificate is not trusted: .*self.signed|unable to get local issuer"),
        ('ca_file = "ca.pem"\nserver_name = "scores.internal"', "scores.internal"),
        ("insecure = true", ""),
    ],
)
def test_a_certificate_is_checked_unless_the_file_says_insecure(
    tmp_path: Path, tls: str, told: str
) -> None:
    context, _ = server_context(tmp_path)
    with serving(KeyedScores(), context) as url:
        target = Target(base_url=url, server=described(url, tmp_path, tls))
        if told:
            with pytest.raises(OSError, match=told):
                get_scores(target)
        else:
            assert get_scores(target).rows == []


def test_a_server_that_speaks_no_tls_is_named_so(tmp_path: Path) -> None:
    with serving(KeyedScores()) as url:
        secure = url.replace("http://", "https://")
        target = Target(base_url=secure, server=described(secure, tmp_path, ""))
        with pytest.raises(OSError, match="it does not speak TLS there"):
            get_scores(target)


def test_a_key_that_is_not_the_certificates_is_refused(tmp_path: Path) -> None:
    one, other = (Authority(tmp_path, name).issue("x") for name in ("a", "b"))

    with pytest.raises(BadTls, match="cannot be used"):
        context_of(Tls(cert=one.cert.read_text(), key=other.key.read_text()))


def test_what_does_not_fit_the_socket_is_sent_later(tmp_path: Path) -> None:
    context, authority = server_context(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    received: list[int] = []

    def serve() -> None:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as peer:
            begin.wait(10)
            total = 0
            while data := peer.recv(65536):
                total += len(data)
            received.append(total)

    begin = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    plain = socket.create_connection(listener.getsockname())
    plain.setblocking(False)
    client = context_of(Tls(ca=authority.ca.read_text()))
    secure = TlsSocket(plain, client, "127.0.0.1")
    deadline = time.monotonic() + 10
    while not secure.handshake():
        assert time.monotonic() < deadline
    data = b"x" * 20_000_000
    sent = secure.send(data)
    assert sent == len(data) - 1
    assert secure.wants_to_send
    begin.set()
    while sent < len(data):
        assert time.monotonic() < deadline
        try:
            sent += secure.send(data[sent:])
        except BlockingIOError:
            continue
    plain.shutdown(socket.SHUT_WR)
    thread.join(10)
    secure.close()
    listener.close()

    assert received == [20_000_000]
