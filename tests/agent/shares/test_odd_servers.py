"""Servers of HTTP and S3 that do what real ones do once in a year: short answers, lost ones, odd ones, slow links."""

import random
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import pytest

from lvpack_agent import places, resources
from lvpack_agent.backup import failed_log
from lvpack_agent.backup.job import Job
from lvpack_agent.errors import Ended, Failed, Refused
from lvpack_agent.image import check, files
from lvpack_agent.image.write import Writer
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares import http, http_wire, s3, s3_upload
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import KIB, MIB, TIB
from tests.agent.builders.odd_server import OddServer, Request, odd_server
from tests.agent.builders.sets import SET, manifest, write_set_to
from tests.agent.builders.shares import access

BUCKET = "a.bucket"


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWAY", "LEAVES", "LOG"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())
    monkeypatch.setattr(s3_upload, "LEAST_PART", 5 * MIB)


@pytest.fixture
def server() -> Iterator[OddServer]:
    with odd_server() as made:
        yield made


class Opened(ExitStack):
    """A share of the server: a folder /sets, or with keys a bucket."""

    def __init__(self, server: OddServer, folder: Path, *, bucket: bool = False, patience: float = 60) -> None:
        super().__init__()
        self.said: list[str] = []
        self.session = Session(action="backup", out=self.said.append)
        at = f"127.0.0.1:{server.server_port}"
        if bucket:
            options = ShareOptions(endpoint=f"http://{at}", path_style=True)
            how = access(patience=patience, options=options, secrets={"s3": b"key:secret"})
            opened = s3.opened(parse_url(f"s3://{BUCKET}/sets"), folder / "new", how, self.session)
        else:
            server.files.setdefault("/sets/", b"")
            url = parse_url(f"http://{at}/sets")
            opened = http.opened(url, folder / "new", access(patience=patience), self.session)
        self.share: RemoteShare = self.enter_context(opened)

    def write(self, name: str, data: bytes) -> None:
        self.share.write(self.share.folder / name, data, 0o600)


def first(count: int, what: Callable[[Request], bool], do: Callable[[Request], object]) -> Callable[[Request], bool]:
    """Return what does something with the first requests of a kind, and then no more; None is always."""
    seen: list[int] = []

    def before(request: Request) -> bool:
        if not what(request) or len(seen) == count:
            return False
        seen.append(1)
        do(request)
        return True

    return before


def is_get(request: Request) -> bool:
    return request.command == "GET" and not request.query


@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("given", [0, 5, 100 * KIB])
def test_a_short_answer_is_asked_for_again(server: OddServer, tmp_path: Path, given: int, bucket: bool) -> None:
    data = random.Random(1).randbytes(300 * KIB)
    with Opened(server, tmp_path, bucket=bucket) as one:
        one.write("options", data)
        server.before = first(1, is_get, lambda request: request.answer(200, data[:given], length=len(data)))
        assert one.share.text("options", MIB) == data
        assert one.session.outages == 1


def test_a_file_is_never_taken_for_whole_that_is_not(server: OddServer, tmp_path: Path) -> None:
    with Opened(server, tmp_path, patience=0) as one:
        one.write("options", b"lvpack.overwrite=yes\nlvpack.disk=/dev/vdb\n")
        server.before = first(-1, is_get, lambda request: request.answer(206, b"lvpack.overwrite=yes\n"))
        with pytest.raises(OSError, match="the server gives 21 bytes of it, where it has 42"):
            one.share.text("options", MIB)
        server.before = first(-1, is_get, lambda request: request.answer(200, b"lvpack.overwrite=yes\n", length=41))
        with pytest.raises(Failed, match="did not answer for 1"):
            one.share.text("options", MIB)


@pytest.mark.parametrize("bucket", [False, True])
def test_a_run_that_is_told_to_end_in_the_read_back_leaves_nothing(
    server: OddServer, tmp_path: Path, bucket: bool
) -> None:
    def end(_: int, __: FrameType | None) -> None:
        one.session.is_ending = lambda: True
        raise Ended("told so")

    def slowly(request: Request) -> None:
        data = server.files[request.path]
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[: 3 * MIB + 5])
        time.sleep(5)
        request.cut()

    with Opened(server, tmp_path, bucket=bucket) as one:
        before = signal.signal(signal.SIGALRM, end)
        try:
            with pytest.raises(Ended, match="told so"), Writer(one.share) as writer:
                folder = writer.begin(SET)
                with one.share.created(folder / "disk.img") as sink:
                    for _ in range(8):
                        sink(bytes(MIB))
                (folder / files.MANIFEST).write_text("{}")
                one.share.publish(folder, files.MANIFEST)
                server.before = first(1, is_get, slowly)
                signal.setitimer(signal.ITIMER_REAL, 1)
                for _ in one.share.source(folder / "disk.img").blocks():
                    pass
        finally:
            signal.signal(signal.SIGALRM, before)
        assert set(server.files) <= {"/sets/"}


def test_a_run_that_is_told_to_end_does_not_wait_for_a_server_that_is_away(server: OddServer, tmp_path: Path) -> None:
    with Opened(server, tmp_path, patience=600) as one:
        server.before = first(-1, lambda _: True, Request.cut)
        one.session.is_ending = lambda: True
        begun = time.monotonic()
        with pytest.raises(Failed, match="did not answer for 1"):
            one.share.names()
        assert time.monotonic() - begun < 20


def test_a_slow_link_is_no_silent_server(server: OddServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_wire, "ANSWER_SECONDS", 3.0)

    def slowly(request: Request) -> None:
        rest = int(request.headers["Content-Length"])
        while rest:
            rest -= len(request.rfile.read(min(rest, 64 * KIB)))
            time.sleep(0.15)
        server.parts[int(request.query["partNumber"])] = b""
        request.answer(200, headers={"ETag": "x"})

    with Opened(server, tmp_path, bucket=True) as one:
        server.before = first(1, lambda request: "partNumber" in request.query, slowly)
        with one.share.created(one.share.folder / "disk.img") as sink:
            sink(bytes(5 * MIB + 1))
        assert one.session.outages == 0


def test_one_part_is_in_memory_and_none_twice(server: OddServer, tmp_path: Path) -> None:
    def swallow(request: Request) -> None:
        rest = int(request.headers["Content-Length"])
        while rest:
            rest -= len(request.rfile.read(min(rest, 64 * KIB)))
        server.parts[int(request.query["partNumber"])] = b""
        request.answer(200, headers={"ETag": "x"})

    with Opened(server, tmp_path, bucket=True) as one:
        server.before = first(-1, lambda request: "partNumber" in request.query, swallow)
        tracemalloc.start()
        try:
            with one.share.created(one.share.folder / "disk.img") as sink:
                for _ in range(16):
                    sink(bytes(MIB))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(server.parts) == 0 and peak < 5 * MIB * 5 / 4 + 2 * MIB, f"{peak:,}"


def test_parts_as_many_as_a_server_takes_and_as_large_as_memory_is(
    server: OddServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_upload.part_size(TIB, 1000) * 1000 >= TIB > s3_upload.part_size(TIB, 1000) * 990
    monkeypatch.setattr(resources, "available_memory", lambda: 300 * MIB)
    monkeypatch.setattr(resources, "worker_count", lambda: 2)
    with Opened(server, tmp_path, bucket=True) as one:
        one.share.refuse_large("disk.img", TIB)  # parts of 117 MiB
        with pytest.raises(Refused, match=r"a part of that, 292 MiB, is in memory") as refused:
            one.share.refuse_large("disk.img", 5 * TIB // 2)
        assert "lvpack.share=parts=" in refused.value.hint


def test_an_upload_whose_last_answer_is_lost_is_complete(server: OddServer, tmp_path: Path) -> None:
    with Opened(server, tmp_path, bucket=True) as one:
        server.loses = first(1, lambda request: request.command == "POST" and "uploadId" in request.query, bool)
        with one.share.created(one.share.folder / "disk.img") as sink:
            sink(bytes(6 * MIB))
        assert [len(text) for text in server.files.values()] == [6 * MIB]
        server.loses = first(1, lambda request: request.command == "POST" and "uploadId" in request.query, bool)
        with pytest.raises(FileNotFoundError), one.share.created(one.share.folder / "other.img") as sink:
            server.before = first(1, lambda request: request.command == "POST" and "uploadId" in request.query, forget)
            sink(bytes(6 * MIB))


def forget(request: Request) -> None:
    request.body()
    request.answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalError"), (429, ""), (503, "SlowDown"), (409, "OperationAborted"), (400, "RequestTimeout")],
)
def test_what_passes_is_asked_again(server: OddServer, tmp_path: Path, status: int, code: str) -> None:
    def busy(request: Request) -> None:
        request.body()
        request.answer(status, f"<Error><Code>{code}</Code></Error>".encode() if code else b"")

    with Opened(server, tmp_path, bucket=True) as one:
        server.before = first(1, lambda request: request.command == "PUT", busy)
        one.write("log", b"text")
        assert list(server.files.values()) == [b"text"]


@pytest.mark.parametrize(
    ("status", "length", "kind", "message"),
    [
        (409, None, OSError, "the server says: 409 BucketAlreadyExists"),
        (401, None, Failed, "cannot log in at .*BucketAlreadyExists"),
        (400, 999, Failed, "did not answer for 1"),
    ],
)
def test_what_a_bucket_says_that_is_no(
    server: OddServer, tmp_path: Path, status: int, length: int | None, kind: type[Exception], message: str
) -> None:
    def refuses(request: Request) -> None:
        request.body()
        request.answer(status, b"<Error><Code>BucketAlreadyExists</Code></Error>", length=length)

    with Opened(server, tmp_path, bucket=True, patience=0) as one:
        server.before = first(-1, lambda request: request.command == "PUT", refuses)
        with pytest.raises(kind, match=message) as error:
            one.write("log", b"text")
        if isinstance(error.value, Failed) and status == 401:
            assert "secret 's3'" in error.value.hint


def is_delete(request: Request) -> bool:
    return request.command == "DELETE"


def test_keys_that_remove_nothing_write_a_set(server: OddServer, tmp_path: Path) -> None:
    with Opened(server, tmp_path, bucket=True) as one:
        server.before = first(-1, is_delete, lambda request: request.answer(403))
        write_set_to(one.share)
        assert check.check_set(one.share.folder / SET, print, one.share.source) == manifest()
        [warning] = one.session.warnings
        assert f"cannot remove '{SET}/lvpack-writes-" in warning and "Permission denied" in warning


def test_of_a_set_that_failed_the_manifest_goes_first_and_the_rest_in_any_case(
    server: OddServer, tmp_path: Path
) -> None:
    with Opened(server, tmp_path, bucket=True) as one:
        with pytest.raises(Failed, match="late"), Writer(one.share) as writer:
            folder = writer.begin(SET)
            one.share.write(folder / "disk.img", b"x", 0o600)
            for name in ("layout.txt", files.MANIFEST):
                (folder / name).write_text("{}")
            one.share.publish(folder, files.MANIFEST)
            refused = first(-1, lambda r: is_delete(r) and r.path.endswith("layout.txt"), lambda r: r.answer(403))
            server.before = refused
            raise Failed("late")
        gone = [path.rpartition("/")[2] for method, path in server.asked if method == "DELETE"]
        assert gone[:3] == [files.MANIFEST, "layout.txt", "disk.img"]
        assert [path.rpartition("/")[2] for path in server.files] == ["layout.txt"]


@pytest.mark.parametrize("to", ["/else where/ö", "http://[bad/", "//other/x"])
def test_where_a_server_leads_may_be_anything(server: OddServer, tmp_path: Path, to: str) -> None:
    with Opened(server, tmp_path) as one:
        one.write("file", b"text")
        server.files["/else where/ö"] = b"text"
        location = {"Location": to.encode().decode("latin-1")}
        server.before = first(
            -1, lambda r: is_get(r) and r.path == "/sets/file", lambda r: r.answer(302, b"", location)
        )
        if to.startswith("/else"):
            assert one.share.text("file", 10) == b"text"
        else:
            with pytest.raises(OSError, match=r"the server leads to"):
                one.share.text("file", 10)


def test_lists_and_lengths_may_be_anything(server: OddServer, tmp_path: Path) -> None:
    listed = b'<multistatus xmlns="DAV:"><response><href>http://[x</href></response>%s</multistatus>'
    names = b"".join(b"<response><href>/sets/%s</href></response>" % name for name in (b"", b"one"))
    with Opened(server, tmp_path) as one:
        server.before = first(1, lambda r: r.command == "PROPFIND", lambda r: r.answer(207, listed % names))
        assert one.share.names() == ["one"]
        odd = {"Content-Length": "²", "Last-Modified": "never"}
        server.before = first(1, lambda r: r.command == "HEAD", lambda r: r.answer(200, b"", odd))
        assert one.share.remote.look("one").size == 0


def test_an_error_of_the_server_is_no_broken_disk(server: OddServer, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        server.before = first(1, lambda r: r.command == "HEAD", lambda r: r.answer(500))
        with pytest.raises(Failed, match=r"cannot read share 'http://.*the server says: 500 odd"):
            one.share.taken("one")


def test_a_server_that_tells_no_dates_takes_a_set(server: OddServer, tmp_path: Path) -> None:
    server.dates = False
    with Opened(server, tmp_path) as one:
        write_set_to(one.share)
        assert check.check_set(one.share.folder / SET, print, one.share.source) == manifest()
        with pytest.raises(OSError, match="does not say when"):
            one.share.now()


@pytest.mark.parametrize("method", ["MKCOL", "MOVE", "DELETE"])
def test_what_was_done_and_its_answer_lost_is_no_error(server: OddServer, tmp_path: Path, method: str) -> None:
    with Opened(server, tmp_path) as one:
        server.loses = first(1, lambda request: request.command == method, bool)
        write_set_to(one.share)
        assert one.share.names() == [SET]
        server.loses = first(1, lambda request: request.command == method, bool)
        one.write("new", b"text")
        one.share.replace(one.share.folder / "new", one.share.folder / "log")
        one.share.unlink(one.share.folder / "log")
        assert one.share.names() == [SET]


def test_a_folder_that_another_one_has_filled_is_not_ours(server: OddServer, tmp_path: Path) -> None:
    def fill(request: Request) -> bool:
        server.files[request.path + "disk.img"] = b""
        return True

    with Opened(server, tmp_path) as one:
        server.loses = first(1, lambda request: request.command == "MKCOL" and fill(request), bool)
        with pytest.raises(Refused, match=r"one\.partial' exists on the share"):
            Writer(one.share).begin(SET)


@pytest.mark.parametrize("is_ending", [False, True])
def test_a_server_that_stops_taking_an_upload_is_announced_and_no_run_that_ends_waits_for_it(
    server: OddServer, tmp_path: Path, is_ending: bool
) -> None:
    goes_on = threading.Event()

    def stalls(request: Request) -> None:
        goes_on.wait(60)
        server.files[request.path] = request.body()
        request.answer(201)

    with Opened(server, tmp_path, patience=600) as one:
        server.before = first(1, lambda request: request.command == "PUT", stalls)
        one.session.is_ending = lambda: is_ending
        begun = time.monotonic()
        threading.Timer(30 if is_ending else 13, goes_on.set).start()
        if is_ending:
            with pytest.raises(Failed, match="did not answer for 1"):
                one.write("file", bytes(32 * MIB))
            assert time.monotonic() - begun < 25
            goes_on.set()
            return
        one.write("file", bytes(32 * MIB))
        assert any("does not answer" in line for line in one.said), one.said
        assert any("answers again" in line for line in one.said), one.said


def test_the_log_of_a_bucket_whose_name_has_a_dot(tmp_path: Path) -> None:
    url = parse_url(f"s3://{BUCKET}/sets")
    where = s3.endpoint(url, access(options=ShareOptions(endpoint="http://h")))
    assert where.host == "a.bucket.h"
    with odd_server() as server, Opened(server, tmp_path, bucket=True) as one:
        assert isinstance(one.share.remote, s3.S3)
        one.share.remote._path_style = False
        assert one.share.remote._source("log").startswith("/a.bucket/")


def test_a_log_that_cannot_be_left_does_not_take_the_place_of_the_cause(server: OddServer, tmp_path: Path) -> None:
    with Opened(server, tmp_path, patience=0) as one:
        settings = parse([f"lvpack.target={one.share.name}", "lvpack.name=one"])
        assert settings
        job = Job(settings=settings, session=one.session, shared=one.share, folder=tmp_path)
        server.before = first(-1, lambda request: request.command == "PUT", lambda request: request.answer(401))
        with pytest.raises(Failed, match="cannot shrink"), failed_log.left_if_bad(job):
            raise Failed("cannot shrink", hint="why it ended")
        [warning] = one.session.warnings
        assert "cannot leave the log" in warning
