"""ONNX models that would take weights from other files, which no hash covers.

A tensor with external data names a file, and so may a node of compiled code (``EPContext``); ONNX Runtime looks for it
in the current folder where the model itself comes from memory. The model's protobuf is walked here without ``onnx``,
which facepipe does not depend on: the wire format is in https://protobuf.dev/programming-guides/encoding, the numbers
of the fields are those of ``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core.errors import WeightsError

SMALL = 1 << 16
"""A part of at most so many bytes is walked only if ``KEY`` or ``COMPILED`` occurs in it."""
KEY = b"location"
"""Every external tensor has an entry of this name."""
MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING = range(8)
PARTS: dict[int, dict[int, int]] = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    TRAINING: {1: GRAPH, 2: GRAPH},
}
"""By the kind of a message: the numbers of its fields that can hold tensors, and their kinds."""
EXTERNAL_DATA = 13
"""Of a tensor: where the data lies; ``data_location``, field 14, is 1 then."""
DATA_LOCATION = 14
OP_TYPE = 4
COMPILED = b"EPContext"


def refuse_external_data(model: bytes) -> None:
    """Refuse a model that is not whole in itself.

    Args:
        model: an ONNX file's content.

    Raises:
        WeightsError: a tensor lies in another file, a node is compiled code, or this is no ONNX model.
    """
    if model[4:8] == b"ORTM":
        raise WeightsError("the model is in ONNX Runtime's own format; only ONNX is read")
    try:
        _walk(model)
    except (IndexError, ValueError) as error:
        raise WeightsError("the model file is no whole ONNX model (its protobuf is damaged)") from error


def _walk(model: bytes) -> None:
    waiting = [(0, len(model), MODEL)]
    while waiting:
        start, end, kind = waiting.pop()
        if end - start <= SMALL and model.find(KEY, start, end) < 0 and model.find(COMPILED, start, end) < 0:
            continue
        parts = PARTS.get(kind, {})
        for field, value, begin, stop in _fields(model, start, end):
            if kind == TENSOR and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value)):
                raise WeightsError(
                    "the model takes weights from another file (ONNX external data), which its manifest does not "
                    "cover; export it as one file"
                )
            if kind == NODE and field == OP_TYPE and model[begin:stop] == COMPILED:
                raise WeightsError("the model holds compiled code (a node EPContext); only ONNX operators are run")
            if field in parts and stop > begin:
                waiting.append((begin, stop, parts[field]))


def _fields(model: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, value (of integers) and extent (of texts, bytes and messages) of each field of a message.

    Raises:
        ValueError: it is no message.
        IndexError: it ends within a field.
    """
    while at < end:
        key, at = _varint(model, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(model, at)
            yield field, value, at, at
        elif wire == 2:
            length, at = _varint(model, at)
            yield field, 0, at, at + length
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
    if at != end:
        raise ValueError("a field goes beyond its message")


def _varint(model: bytes, at: int) -> tuple[int, int]:
    """A number in base 128, and the place after it."""
    number = model[at]
    if number < 0x80:
        return number, at + 1
    number &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = model[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at + 1
    raise ValueError("a number of more than ten bytes")
