"""Shares by S3, with a real server, OpenStack Swift: what a set needs, parts, two writers, and what is named."""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.swift import ACCESS, BUCKET, REGION, SECRET, Swift, swift
from lvpack_agent import places
from lvpack_agent.backup.failed_log import left_if_bad
from lvpack_agent.backup.job import Job
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import check, files
from lvpack_agent.image.write import Writer, refuse_taken
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares import s3, s3_upload
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.s3 import S3
from lvpack_agent.shares.s3_sign import Signer, query
from lvpack_agent.shares.server_clock import shown
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import GIB, MIB, TIB
from tests.agent.builders.remote import begin_a_set_that_fails, write_and_read
from tests.agent.builders.sets import SET, manifest, write_set_to
from tests.agent.builders.shares import access

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network of one's own is root's"),
]
KEYS = f"{ACCESS}:{SECRET}".encode()


@pytest.fixture(scope="module")
def server() -> Iterator[Swift]:
    with swift() as made:
        yield made


@pytest.fixture(autouse=True)
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Swift, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    for name in ("AWAY", "LEAVES", "LOG"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())
    name = f"{BUCKET}-{abs(hash(request.node.name)) % 10**9}"
    server.make_bucket(name)
    return name


class Opened(ExitStack):
    """A share, and what its session has said."""

    def __init__(
        self,
        server: Swift,
        folder: Path,
        bucket: str,
        *,
        patience: float = 60,
        keys: bytes = KEYS,
    ) -> None:
        super().__init__()
        self.said: list[str] = []
        self.session = Session(action="backup", out=self.said.append)
        url = parse_url(f"s3://{bucket or 'none'}/some where/sets")
        options = ShareOptions(endpoint=f"http://127.0.0.1:{server.port}", region=REGION, path_style=True)
        how = access(patience=patience, options=options, secrets={"s3": keys})
        self.share: RemoteShare = self.enter_context(s3.opened(url, folder / "new", how, self.session))
        assert isinstance(self.share.remote, S3)
        self.client = self.share.remote


def test_a_set_is_written_and_read_and_is_none_without_its_manifest(server: Swift, bucket: str, tmp_path: Path) -> None:
    with Opened(server, tmp_path, bucket) as one:
        write_set_to(one.share)
        assert one.share.names() == [SET]
        assert sorted(one.client.names(SET)) == sorted(["disk.img", "layout", files.MANIFEST, files.SUMS])
        assert check.check_set(one.share.folder / SET, print, one.share.source) == manifest()
        with pytest.raises(Refused, match="it exists on the share"):
            refuse_taken(one.share, SET)
        assert one.share.modified(one.share.folder / SET / files.MANIFEST) == pytest.approx(time.time(), abs=60)
        assert one.share.now() == pytest.approx(time.time(), abs=60)
        one.client.remove(f"{SET}/{files.MANIFEST}")
        with pytest.raises(Refused, match=r"there is no manifest\.json"):
            check.read_manifest(one.share.folder / SET, source=one.share.source)


def test_a_set_that_fails_leaves_nothing(
    server: Swift, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_upload, "LEAST_PART", 5 * MIB)
    with Opened(server, tmp_path, bucket) as one:
        begin_a_set_that_fails(one.share, 12 * MIB)
        assert one.share.names() == []
        uploads = one.client.ask("GET", f"/{bucket}/?uploads=", most=MIB).body
        assert b"<Upload>" not in uploads


def test_two_writers_of_one_name(server: Swift, bucket: str, tmp_path: Path) -> None:
    with Opened(server, tmp_path, bucket) as one, Opened(server, tmp_path / "other", bucket) as other:
        with Writer(one.share) as first, Writer(other.share) as second:
            folder = first.begin(SET)
            with pytest.raises(Refused, match=f"'{SET}' to|'{SET}': it exists"):
                second.begin(SET)
            other.client._list = lambda *_: []  # type: ignore[method-assign]
            with pytest.raises(Refused, match="exists on the share"):
                second.begin(SET)
            one.share.write(folder / "disk.img", b"x", 0o600)
        assert one.client.names(SET) == ["disk.img"], "what the other one left out was not removed, nor its claim left"


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 12 * MIB + 17])
def test_what_was_written_is_read(
    server: Swift, bucket: str, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_upload, "LEAST_PART", 5 * MIB)
    data = random.Random(size).randbytes(size)
    with Opened(server, tmp_path, bucket) as one:
        write_and_read(one.share, data)


def test_a_part_that_does_not_arrive_is_sent_again(
    server: Swift, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_upload, "LEAST_PART", 5 * MIB)
    data = random.Random(1).randbytes(16 * MIB)

    def interrupt() -> None:
        server.kill()
        time.sleep(3)
        server.start()

    with Opened(server, tmp_path, bucket) as one:
        breaker = threading.Thread(target=interrupt)
        with one.share.created(one.share.folder / "file") as sink:
            for at in range(0, len(data), MIB):
                sink(data[at : at + MIB])
                if at == 8 * MIB:
                    breaker.start()
        breaker.join()
        assert b"".join(one.share.source(one.share.folder / "file").blocks()) == data
        assert one.session.outages


def test_the_log_of_a_run_that_fails_is_left_and_replaced(server: Swift, bucket: str, tmp_path: Path) -> None:
    with Opened(server, tmp_path, bucket) as one:
        settings = parse([f"lvpack.target=s3://{bucket}/x", "lvpack.share=endpoint=http://h", "lvpack.name=one"])
        assert settings
        job = Job(settings=settings, session=one.session, shared=one.share, folder=tmp_path)
        one.session.name = "one"
        for cause in ("cannot shrink", "cannot merge"):
            with pytest.raises(Failed), left_if_bad(job):
                raise Failed(cause, hint="look")
        assert b"cannot merge" in one.share.text("one.failed.log", MIB)
        assert one.share.names() == ["one.failed.log"]


@pytest.mark.parametrize(
    ("keys", "name", "kind", "message"),
    [
        (f"{ACCESS}:wrong".encode(), "", Failed, "cannot log in at .* SignatureDoesNotMatch"),
        (b"nobody:x", "", Failed, "cannot log in at "),
        (b"nothing", "", Refused, "it is no pair of keys"),
        (KEYS, "no-such-bucket", Failed, "there is no such bucket"),
    ],
)
def test_what_a_server_does_not_take_is_named(
    server: Swift, bucket: str, tmp_path: Path, keys: bytes, name: str, kind: type[LvpackError], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        Opened(server, tmp_path, name or bucket, keys=keys)
    assert error.value.hint
    assert SECRET not in error.value.message + error.value.hint


def test_a_clock_that_is_wrong_is_set_by_the_servers(
    server: Swift, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    with Opened(server, tmp_path, bucket) as one:
        assert one.share.names() == []
    [warning] = one.session.warnings
    assert f"says {shown(real() + 7200)[:13]}" in warning and f"the server's {shown(real())[:13]}" in warning


def test_a_server_that_stays_away_is_given_up(server: Swift, bucket: str, tmp_path: Path) -> None:
    with Opened(server, tmp_path, bucket, patience=0) as one:
        server.kill()
        try:
            with pytest.raises(Failed, match=r"cannot reach share 's3://.*did not answer for 1"):
                one.share.names()
        finally:
            server.start()


def test_without_an_endpoint_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="at which server"):
        s3.endpoint(parse_url("s3://bucket/x"), access(secrets={"s3": KEYS}))
    virtual = access(options=ShareOptions(endpoint="https://h:1"))
    assert str(s3.endpoint(parse_url("s3://bucket/x"), virtual)) == "https://bucket.h:1/x"


def test_the_signature_is_that_of_the_manual() -> None:
    """AWS: "Signature Calculations for the Authorization Header", example GET Object."""
    signer = Signer(
        access="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1"
    )
    now = 1369353600  # 2013-05-24T00:00:00Z
    found = signer.headers("GET", "/?lifecycle=", {}, b"", "examplebucket.s3.amazonaws.com", now)
    assert found["Authorization"].endswith("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
    assert query(prefix="J a/~", max_keys="2") == "?max-keys=2&prefix=J%20a%2F~"


def test_parts_grow_with_what_an_image_may_take() -> None:
    assert s3_upload.part_size(0) == s3_upload.part_size(100 * GIB) == 16 * MIB
    for most in (200 * GIB, TIB, 5 * TIB):
        assert s3_upload.part_size(most) * 10_000 >= most and s3_upload.part_size(most) % MIB == 0
