"""Data through files and programs, block by block; memory bounded."""

import os
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.errors import Failed
from lvpack_agent.processes import PIPE, Completed, check, spawn

BLOCK = 1 << 20

_ZEROS = bytes(BLOCK)


def is_zero(data: bytes | bytearray | memoryview) -> bool:
    """Return whether all bytes are zero; a comparison is many times faster than any(), and this one copies nothing."""
    view = memoryview(data)
    return all(_ZEROS.startswith(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK))


def pump(command: Sequence[str], source: Generator[bytes], sink: Callable[[bytes], None]) -> str:
    """Feed the source's blocks to a program, and its output to sink; return what it writes to stderr.

    Without a command the blocks go to sink as they are. An error of source, program or sink is raised. The source is
    closed in any case: a device that it still held open could not be removed.
    """
    if not command:
        with closing(source):
            for data in source:
                sink(data)
        return ""
    process = spawn(command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert process.stdin and process.stdout and process.stderr
    errors: list[Exception] = []
    said: list[bytes] = []

    def feed() -> None:
        assert process.stdin
        try:
            with process.stdin as pipe, closing(source):
                for data in source:
                    pipe.write(data)
        except BrokenPipeError:
            pass  # the program ended early: its status or the sink tells why
        except Exception as error:
            errors.append(error)
            process.kill()

    threads = [
        threading.Thread(target=feed, daemon=True),
        threading.Thread(target=lambda: said.append(process.stderr.read()), daemon=True),  # type: ignore[union-attr]
    ]
    for thread in threads:
        thread.start()
    try:
        while data := process.stdout.read(BLOCK):
            sink(data)
    except BaseException:
        process.kill()
        raise
    finally:
        for thread in threads:
            thread.join()
        process.stdout.close()
        process.stderr.close()
        status = process.wait()
    if errors:
        raise errors[0]
    completed = Completed(status=status, stdout="", stderr=b"".join(said).decode(errors="replace"))
    check(command, completed)
    return completed.stderr


def tapped(source: Generator[bytes], *taps: Callable[[bytes], object]) -> Generator[bytes]:
    """Yield the source's blocks after showing each to the taps; close the source at the end."""
    with closing(source):
        for data in source:
            for tap in taps:
                tap(data)
            yield data


def file_blocks(
    path: Path,
    limit: int | None = None,
    *,
    top: Path | None = None,
    again: Callable[[OSError], bool] = guarded.passes,
) -> Generator[bytes]:
    """Yield a file block by block, from the server or disk and not from this machine's cache.

    limit, top and again as guarded.opened() has them. Raises Failed if it cannot be read.
    """
    at = 0
    try:
        with os.fdopen(guarded.opened(path, limit, top=top, again=again), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while data := guarded.patiently(partial(os.pread, file.fileno(), BLOCK, at), again):
                at += len(data)
                yield data
    except OSError as error:
        raise Failed(f"cannot read '{path.name}': {error.strerror}") from error
