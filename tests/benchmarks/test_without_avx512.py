"""The jump that the copy of ONNX Runtime lacks: one jump goes, and a build that looks different is refused."""

import pytest
from facepipe.core.errors import FacepipeError
from without_avx512 import without_jump

TEST = bytes.fromhex("41f7c200000100 740e 4c89c0 48f7d0 a8e0")
JUMP = bytes.fromhex("0f8454010000")


def test_the_jump_to_avx512_becomes_nothing_and_all_else_stays() -> None:
    around = bytes(range(64))
    changed = without_jump(around + TEST + JUMP + around)
    assert changed == around + TEST + b"\x90" * 6 + around


@pytest.mark.parametrize("code", [b"", TEST + b"\x90" * 6, 2 * (TEST + JUMP)])
def test_another_build_is_refused(code: bytes) -> None:
    with pytest.raises(FacepipeError, match="another build"):
        without_jump(code)
