"""Real web servers, for tests: nginx and Apache with TLS by an authority of our own, and WebDAV for one user."""

import base64
import hashlib
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.processes import DEVNULL, Process, run, spawn
from lvpack_builder.lab import nfs
from lvpack_builder.lab.nfs import HOST_FROM_GUEST
from lvpack_builder.lab.private import private_network
from lvpack_builder.lab.relay import LOOPBACK

USER, PASSWORD = "backup", "open, Sesame: 100 %"
MODULES = "/usr/lib/apache2/modules"

_NGINX = """
load_module modules/ngx_http_dav_ext_module.so;
user backup;
daemon off;
worker_processes 1;
pid {state}/pid;
error_log {state}/log info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {state}/root/.incoming;
    server {{
        listen {address}:{port} {tls};
        ssl_certificate {state}/server.pem;
        ssl_certificate_key {state}/server.key;
        {client}
        root {state}/root;
        client_max_body_size 0;
        location / {{ {dav} {auth} }}
        location /elsewhere {{ return 302 https://{address}:1/secret; }}
    }}
}}
"""
_NGINX_DAV = "dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS; dav_access user:rw;"
_APACHE = """
ServerRoot {state}
ServerName localhost
PidFile {state}/pid
ErrorLog {state}/log
Mutex file:{state}
User backup
Group backup
{modules}
DavLockDB {state}/root/.locks
Listen {address}:{port}
SSLSessionCache none
<VirtualHost *:{port}>
    {tls}
    {client}
    DocumentRoot {state}/root
    <Directory {state}/root>
        {dav}
        {auth}
    </Directory>
    Redirect 302 /elsewhere https://{address}:1/secret
</VirtualHost>
"""
_APACHE_TLS = "SSLEngine on\nSSLCertificateFile {state}/server.pem\nSSLCertificateKeyFile {state}/server.key"
_APACHE_MODULES = (
    "mpm_event dir authn_core authn_file authz_core authz_user auth_basic alias dav dav_fs dav_lock ssl socache_shmcb"
)


@dataclass(slots=True)
class Web:
    """A server whose folder /sets is folder here."""

    kind: str
    port: int
    state: Path
    process: "Process[bytes] | None" = None

    @property
    def folder(self) -> Path:
        return self.state / "root/sets"

    @property
    def ca(self) -> bytes:
        return (self.state / "ca.pem").read_bytes()

    @property
    def client_cert(self) -> bytes:
        return (self.state / "client.pem").read_bytes() + (self.state / "client.key").read_bytes()

    def start(self) -> None:
        command = (
            ["nginx", "-c", f"{self.state}/conf"]
            if self.kind == "nginx"
            else ["apache2", "-X", "-f", f"{self.state}/conf"]
        )
        self.process = spawn(command, stdout=DEVNULL, stderr=DEVNULL, new_session=True)
        nfs.wait_until_it_answers(self.process, (LOOPBACK, self.port), self.state / "log")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all that it has started."""
        assert self.process
        run(["pkill", f"-{number.value}", "--session", str(self.process.pid)], ok=(0, 1))

    def kill(self) -> None:
        assert self.process
        self.signal(signal.SIGKILL)
        self.process.wait()


def certify(state: Path, name: str, days: int = 2) -> None:
    """Make a key and a certificate by our own authority, for the server's addresses; days below 0: it has expired."""
    subject = f"subjectAltName=IP:{LOOPBACK},IP:{HOST_FROM_GUEST}"
    (state / "extensions").write_text(subject)
    key: list[str] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if not (state / "ca.pem").exists():
        run(["openssl", "req", "-x509", *key, "-keyout", state / "ca.key", "-out", state / "ca.pem", "-subj", "/CN=ca"])
    out = ["-keyout", f"{state}/{name}.key", "-out", f"{state}/{name}.csr"]
    run(["openssl", "req", *key, *out, "-subj", f"/CN={name}"])
    by = ["-CA", f"{state}/ca.pem", "-CAkey", f"{state}/ca.key", "-CAcreateserial", "-extfile", f"{state}/extensions"]
    run(
        [
            "openssl",
            "x509",
            "-req",
            "-in",
            state / f"{name}.csr",
            *by,
            "-days",
            str(days),
            "-out",
            state / f"{name}.pem",
        ]
    )


@contextmanager
def web(
    kind: str,
    *,
    tls: bool = True,
    dav: bool = True,
    password: bool = True,
    certificate: bool = False,
    readable: bool = False,
) -> Iterator[Web]:
    """Serve an empty folder by nginx or apache; certificate: who has none is not let in.

    readable: anybody may read, and the password is for writing.
    """
    with ExitStack() as undo:
        undo.enter_context(private_network())
        state = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="lvpack-web-")))
        state.chmod(0o755)
        server = Web(kind, nfs.free_port(LOOPBACK), state)
        server.folder.mkdir(parents=True)
        for folder in (server.folder, server.folder.parent):
            shutil.chown(folder, USER, USER)
        certify(state, "server")
        certify(state, "client")
        digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
        (state / "users").write_text(f"{USER}:{{SHA}}{digest}\n")
        words = {"address": LOOPBACK, "port": server.port, "state": state}
        if kind == "nginx":
            asks = f"auth_basic x; auth_basic_user_file {state}/users;"
            text = _NGINX.format(
                **words,
                tls="ssl" if tls else "",
                dav=_NGINX_DAV if dav else "",
                auth=(f"limit_except GET HEAD PROPFIND {{ {asks} }}" if readable else asks) if password else "",
                client=f"ssl_verify_client on; ssl_client_certificate {state}/ca.pem;" if certificate else "",
            )
        else:
            auth = f"AuthType Basic\nAuthName x\nAuthUserFile {state}/users\n"
            wants = "Require valid-user"
            auth += f"<LimitExcept GET HEAD PROPFIND>\n{wants}\n</LimitExcept>" if readable else wants
            text = _APACHE.format(
                **words,
                modules="\n".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so" for m in _APACHE_MODULES.split()),
                tls=_APACHE_TLS.format(state=state) if tls else "",
                dav="Dav On" if dav else "",
                auth=auth if password else "Require all granted",
                client=f"SSLVerifyClient require\nSSLCACertificateFile {state}/ca.pem" if certificate else "",
            )
        (state / "conf").write_text(text)
        server.start()
        undo.callback(server.kill)
        yield server
