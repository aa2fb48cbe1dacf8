"""Telling receivers, with real servers on loopback: what they get, and what is said of those that are broken."""

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lab.receiver import receiving, silent
from lvpack_agent.notify import notices, send
from lvpack_agent.report import RESULT_MARK, Report, Sizes
from lvpack_agent.session import Session
from lvpack_agent.settings.receivers import of_url

TOKEN = "T0ken"
REPORT = Report(
    status="failed", action="backup", message="cannot reach 100 %: ü", name="a b", sizes=Sizes(image=5), warnings=("w",)
)
RESULT = notices.result(REPORT)
STARTED = notices.started(Session(action="backup", out=print, name="one"))


def told(url: str, event: dict[str, Any] = RESULT, ca: bytes | None = None) -> str:
    [outcome] = send.tell([of_url(url)], event, ca)
    assert TOKEN not in outcome.cause
    return outcome.cause


def test_a_post_has_the_object_of_the_result_line() -> None:
    with receiving() as server:
        assert told(f"http://127.0.0.1:{server.port}/hook/{TOKEN}?a=b&c=%20") == ""
    [request] = server.got
    assert (request.method, request.path) == ("POST", f"/hook/{TOKEN}?a=b&c=%20")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "lvpack" and "Authorization" not in request.headers
    assert request.event is not None
    line = json.loads(REPORT.line().removeprefix(RESULT_MARK))
    assert {key: request.event[key] for key in line} == line
    assert request.event["event"] == "result"


@pytest.mark.parametrize(
    ("target", "began", "ended"),
    [
        ("/{status}", "/started", "/failed"),
        ("/{event}/{exit}?a={action}&n={name}", "/started/?a=backup&n=one", "/result/1?a=backup&n=a%20b"),
        ("?s={status}&m={message}", "/?s=started&m=", "/?s=failed&m=cannot%20reach%20100%20%25%3A%20%C3%BC"),
    ],
)
def test_a_get_has_what_its_url_asks_for_percent_encoded(target: str, began: str, ended: str) -> None:
    with receiving() as server:
        for event in (STARTED, RESULT):
            assert told(f"get+http://127.0.0.1:{server.port}{target}", event) == ""
    assert [(request.method, request.path) for request in server.got] == [("GET", began), ("GET", ended)]


def test_what_is_filled_in_is_no_placeholder_again_and_no_part_of_the_path() -> None:
    event = {**RESULT, "name": "{message}/../?x=#{exit}", "message": "a\r\nb" + "ü" * 1000, "status": "ok"}
    filled = send.filled("/{name}/{exit}/{message}", event)
    assert filled.startswith("/%7Bmessage%7D%2F..%2F%3Fx%3D%23%7Bexit%7D/0/a%0D%0Ab%C3%BC")
    assert filled.count("%C3%BC") == send.MESSAGE_MOST - 4


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/broken", "it answers 500 Internal Server Error"),
        ("/elsewhere", "it leads to another place (302 Found), which is not followed"),
    ],
)
def test_a_receiver_that_does_not_take_it_is_asked_once_and_shown_by_its_status_only(path: str, cause: str) -> None:
    with receiving() as server:
        assert told(f"http://127.0.0.1:{server.port}{path}/{TOKEN}") == cause
        assert told(f"get+http://127.0.0.1:{server.port}{path}/{TOKEN}/{{status}}") == cause
    assert len(server.got) == 2


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "SECONDS", 2.5)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("path", "cause"), [("/silent", "answer"), ("/slow", "not answered in time"), ("/busy", "503 Service Unavailable")]
)
def test_a_receiver_that_does_not_answer_is_not_waited_for(path: str, cause: str) -> None:
    began = time.monotonic()
    with receiving() as server:
        assert cause in told(f"http://127.0.0.1:{server.port}{path}/{TOKEN}")
        assert time.monotonic() - began < 4
    assert len(server.got) == (3 if path == "/busy" else 1)


@pytest.mark.starts_processes
@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("path", ["/endless", "/slow", "/silent"])
def test_nothing_of_a_late_receiver_is_left_in_the_run(
    path: str, tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says "100 Continue" for ever keeps Python's client reading: it takes a processor from the run."""
    monkeypatch.setattr(send, "SECONDS", 1.0)
    with receiving(tmp_path if tls else None) as server:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}{path}/{TOKEN}"
        assert "answer" in told(url, ca=server.ca or None)
        deadline = time.monotonic() + 3
        while any(thread.name == "notify" for thread in threading.enumerate()):
            assert time.monotonic() < deadline, "a thread is still at it"
            time.sleep(0.05)


@pytest.mark.usefixtures("short")
def test_all_are_told_at_the_same_time_and_a_dead_one_keeps_none_of_the_others() -> None:
    with receiving() as server, silent() as port, socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
        closed.close()
        urls = [f"http://127.0.0.1:{p}/{TOKEN}" for p in (nobody, port, port, port, server.port)]
        urls += [f"https://127.0.0.1:{port}/{TOKEN}", f"http://no-such-host.invalid/{TOKEN}"]
        began = time.monotonic()
        outcomes = send.tell([of_url(url) for url in urls], RESULT, None)
        assert time.monotonic() - began < 4
        assert [request.path for request in server.got] == [f"/{TOKEN}"]
    causes = [outcome.cause for outcome in outcomes]
    assert causes[0] == "Connection refused" and causes[4] == ""
    assert all("answer" in cause for cause in (*causes[1:4], causes[5])) and causes[6]
    assert TOKEN not in "".join(causes) and "invalid" not in "".join(causes)


@pytest.mark.usefixtures("short")
def test_one_that_is_there_a_moment_later_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    told_at_last: list[str] = []
    thread = threading.Thread(target=lambda: told_at_last.append(told(f"http://127.0.0.1:{port}/")))
    thread.start()
    time.sleep(0.3)
    with receiving(port=port) as server:
        thread.join()
        assert told_at_last == [""] and len(server.got) == 1


@pytest.mark.starts_processes
def test_a_certificate_by_ones_own_authority(tmp_path: Path) -> None:
    with receiving(tmp_path) as server:
        url = f"https://127.0.0.1:{server.port}/{TOKEN}"
        assert told(url, ca=server.ca) == ""
        assert "certificate is not trusted: " in told(url)
        assert told(url.replace("127.0.0.1", "127.0.0.2"), ca=server.ca)  # nobody is there
        localhost = told(url.replace("127.0.0.1", "localhost"), ca=server.ca)
        assert localhost == "its certificate is not trusted: it is for another name"
        assert told(url, ca=b"none") == "cannot use secret 'ca': it has no certificates"
    assert len(server.got) == 1


@pytest.mark.starts_processes
def test_an_expired_certificate(tmp_path: Path) -> None:
    with receiving(tmp_path, days=-1) as server:
        url = f"https://127.0.0.1:{server.port}/{TOKEN}"
        assert told(url, ca=server.ca) == "its certificate is not trusted: certificate has expired"
    assert server.got == []


def test_a_server_that_speaks_no_tls_or_no_http() -> None:
    with receiving() as server:
        assert told(f"https://127.0.0.1:{server.port}/{TOKEN}").startswith("it does not speak TLS with us")


def test_who_wants_a_password_gets_none() -> None:
    with receiving() as server:
        assert told(f"http://127.0.0.1:{server.port}/locked") == "it answers 401 Unauthorized"
    assert [request.headers.get("Authorization") for request in server.got] == [None]


def test_a_get_that_cannot_tell_a_begin_from_an_end_hears_the_end_only() -> None:
    for url in ("https://h/x", "get+https://h/{status}", "get+https://h/{exit}?{event}"):
        assert of_url(url).hears_begin
    assert not of_url("get+https://h/{exit}").hears_begin
