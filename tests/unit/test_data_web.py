"""Downloads from a real TLS server on this machine: what is served, what is refused, what leaves no file."""

import datetime as dt
import ipaddress
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drl.data.cache import DigestCache
from drl.data.sources import fetch, resolve_latest
from drl.data.web import download
from drl.digest import sha256_bytes
from drl.errors import DataError, StoreError
from drl.spec import HttpsSource

DATA = b"t,p\n" + b"1,2\n" * 5000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        path = self.path.partition("?")[0]
        if path == "/data.csv":
            self._answer(200, DATA)
        elif path == "/short.csv":
            self._answer(200, DATA[:100], length=len(DATA))
        elif path == "/plain":
            self._answer(302, b"", location="http://127.0.0.1:9/data.csv")
        elif path == "/moved":
            self._answer(302, b"", location="/data.csv")
        elif path == "/busy":
            self._answer(503, b"")
        else:
            self._answer(404, b"")

    def _answer(self, status, body, *, length=None, location=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(names, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder


@pytest.fixture
def server(certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.paths, server.url = [], f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert.pem"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


def source(server, path="/data.csv", sha256=None):
    return HttpsSource(kind="https", url=server.url + path, sha256=sha256 or sha256_bytes(DATA))


def test_fetched_once_and_then_from_the_cache(server, tmp_path):
    cache = DigestCache(tmp_path / "cache")
    for _ in range(2):
        fetched = fetch(
            source(server, "/moved?token=s3cret"), tmp_path / "into", base=tmp_path, s3=None, cache=cache
        )
        assert fetched.path.read_bytes() == DATA
    assert server.paths == ["/moved?token=s3cret", "/data.csv"]
    assert "s3cret" not in fetched.description


def test_latest_takes_what_is_there_now_and_keeps_it(server, tmp_path):
    cache = DigestCache(tmp_path / "cache")
    exact = resolve_latest(source(server, sha256="latest"), base=tmp_path, s3=None, cache=cache)
    assert exact == source(server)
    fetch(exact, tmp_path / "into", base=tmp_path, s3=None, cache=cache)
    assert server.paths == ["/data.csv"]


def test_another_digest_is_refused(server, tmp_path):
    cache = DigestCache(tmp_path / "cache")
    with pytest.raises(DataError, match=f"expected sha256 {'0' * 64}, seen {sha256_bytes(DATA)}"):
        fetch(source(server, sha256="0" * 64), tmp_path / "into", base=tmp_path, s3=None, cache=cache)
    assert not cache.folder.exists()


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/gone.csv?token=s3cret", DataError, "/gone.csv: the server answered 404"),
        ("/short.csv", StoreError, "/short.csv: download failed: "),
        ("/plain", DataError, "redirects away from https"),
        ("/busy", StoreError, "the server answered 503"),
    ],
)
def test_what_cannot_be_downloaded_leaves_no_file(server, tmp_path, path, kind, message):
    with pytest.raises(kind, match=message) as caught:
        download(server.url + path, tmp_path / "target")
    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "target").exists()


def test_the_limit_on_size(server, tmp_path):
    with pytest.raises(DataError, match="more than 1000 bytes"):
        download(server.url + "/data.csv", tmp_path / "target", limit=1000)
    assert not (tmp_path / "target").exists()


def test_an_unknown_certificate_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(StoreError, match="SSLError"):
        download(server.url + "/data.csv", tmp_path / "target")
