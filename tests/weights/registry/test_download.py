"""Files from those who lie, break off and stall: an error, and nothing is seen; what passes is tried again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from facepipe.core.errors import RemoteError
from facepipe.weights.registry.download import RetryPolicy, fetch_file, fetch_small
from facepipe.weights.registry.index import Stamp
from facepipe.weights.registry.source import PassingError, Stream

from .lying_server import Service
from .pulled import CALM, MODEL, QUICK, VERSION, here, pulled

STALLING = ("silent", "stall")


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        (["wrong"], "not the file listed in the index"),
        (["longer"], "the index says"),
        (["shorter"], "the index says"),
        (["endless"], "sends more than"),
        (["packed"], "sent compressed"),
        (["404"], "not found"),
        (["403"], "denied access"),
        (["418"], "answered 418"),
        (["says " + "x" * 60_000], "answered 418 xxx"),
        (["500", "502", "503"], r"answered 503 .*tried 3 times"),
        (["cut", "cut", "cut"], r"(ended after|broke).*tried 3 times"),
        (["silent", "silent", "silent"], r"no answer in time \(tried 3 times\)"),
        (["stall", "stall", "stall"], r"the connection broke .*tried 3 times"),
        (["drip", "drip", "drip"], "slower than 1,000,000 bytes a second"),
        (["length " + "9" * 5000], "sends more|the connection|SHA-256|the request failed|no connection"),
        (["length -1"], "."),
        (["to http://weights.invalid/x"], "redirects to http://weights.invalid/x, but .* over https only"),
        (["to ftp://127.0.0.1/x"], "over https only"),
        (["to file:///etc/passwd"], "over https only"),
        (["to http://127.0.0.1:99999/x"], "the request failed"),
        (["to http://127.0.0.1:abc/x"], "the request failed"),
        (["to http://[::1/x"], "the request failed"),
        (["to http:///x"], "."),
        (["to https://" + "x" * 300 + ".invalid/"], "."),
        (["to http://127.0.0.1/" + "x" * 60_000], "."),
    ],
)
def test_a_lie_or_a_stall_is_one_line_and_nothing_is_seen(
    service: Service, root: Path, ways: list[str], message: str
) -> None:
    service.ways[MODEL] = ways * 3 if ways[0].startswith(("to ", "length")) else list(ways)
    timeout = (5.0, 0.3) if ways[0] in STALLING else (5.0, 20.0)
    if ways[0].startswith("length"):  # what is not a length counts as none: the file itself is right
        assert pulled(service).release.version == VERSION
        return
    with pytest.raises(RemoteError, match=message) as caught:
        pulled(service, timeout, retry=QUICK if ways[0] == "drip" else CALM)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200
    assert here() == []
    assert list((root / "detector").iterdir()) == []  # nothing is left either
    service.go_on.set()
    service.ways.clear()
    assert pulled(service).release.version == VERSION  # and the next try goes well
    assert here() == [VERSION]


@pytest.mark.parametrize("ways", [["500", "503"], ["429", "cut"], ["cut", "cut"]])
def test_what_passes_is_tried_again(service: Service, root: Path, ways: list[str]) -> None:
    service.ways[MODEL] = list(ways)
    done: list[int] = []
    pulled(service, progress=lambda here, total: done.append(total - here))
    assert here() == [VERSION]
    assert len(service.asked(MODEL)) == len(ways) + 1
    assert done[-1] == 0


def test_another_file_than_named_is_refused(service: Service, root: Path) -> None:
    folder = next(service.folder.rglob(MODEL)).parent
    (folder / "other.onnx").write_bytes(b"\x01" * (folder / MODEL).stat().st_size)
    service.ways[MODEL] = [f"to {service.url}/{(folder / 'other.onnx').relative_to(service.folder)}"]
    with pytest.raises(RemoteError, match="SHA-256 differs"):
        pulled(service)
    assert here() == []


@pytest.mark.parametrize("way", ["endless", "stall", "silent", "cut", "500"])
def test_an_index_that_does_not_come(service: Service, root: Path, way: str) -> None:
    service.ways["index.json"] = [way] * 3
    with pytest.raises(RemoteError, match=r"tried 3 times|sends more than 4,000,000"):
        pulled(service, (5.0, 0.3) if way in STALLING else (5.0, 20.0))


class Flaky:
    """A source whose first answers break off."""

    label, remote = "flaky", False

    def __init__(self, content: bytes, breaks: int):
        self.content, self.breaks, self.closed = content, breaks, 0

    def open(self, place: str) -> Stream:
        def chunks() -> Iterator[bytes]:
            yield self.content[:3]
            if self.breaks:
                self.breaks -= 1
                raise PassingError("cut")
            yield self.content[3:]

        def close() -> None:
            self.closed += 1

        return Stream(None, chunks(), close)


def test_a_file_is_begun_anew_and_every_stream_is_closed(tmp_path: Path) -> None:
    wanted = Stamp(sha256=hashlib.sha256(b"0123456789").hexdigest(), bytes=10)
    source, more = Flaky(b"0123456789", 2), io.StringIO()
    came: list[int] = []
    fetch_file(source, "x", wanted, tmp_path / "x", CALM, came.append)
    assert (tmp_path / "x").read_bytes() == b"0123456789"
    assert sum(came) == 10
    assert source.closed == 3
    assert fetch_small(Flaky(b"0123456789", 0), "x", 10, CALM) == b"0123456789"
    with pytest.raises(RemoteError, match="sends more than 9 bytes"):
        fetch_small(Flaky(b"0123456789", 0), "x", 9, CALM)
    with pytest.raises(RemoteError, match=r"cut \(tried 2 times\)"):
        fetch_file(Flaky(b"0123456789", 9), "x", wanted, tmp_path / "y", RetryPolicy(attempts=2, pause=0), came.append)
    assert more.getvalue() == ""
