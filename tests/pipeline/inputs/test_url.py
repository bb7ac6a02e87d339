from __future__ import annotations

from facepipe.pipeline.inputs.image_reader import source_name
from facepipe.pipeline.inputs.url import shown


def test_names_of_urls_have_no_credentials() -> None:
    url = "https://ann:se@cret@example.org:8443/a@b.jpg?key=1#x"
    assert source_name(url) == "https://example.org:8443/a@b.jpg?key=1"
    assert shown(url) == "https://example.org:8443/a@b.jpg?…"
    assert shown("http://example.org/\x1b[2J") == "http://example.org/\ufffd[2J"
