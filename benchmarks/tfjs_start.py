"""Make a start for ``benchmarks/recipes.py`` from a TensorFlow.js model, where ImageNet's weights cannot be downloaded.

    npm pack nsfwjs@4.3.0 && tar xzf nsfwjs-4.3.0.tgz
    python benchmarks/tfjs_start.py package/dist/models/mobilenet_v2 mobilenetv2 --data crops/faces.csv
    python benchmarks/tfjs_start.py package/dist/models/inception_v3 inceptionv3 --data crops/faces.csv

The npm package nsfwjs (MIT) brings a MobileNetV2 and an InceptionV3 of keras.applications: ImageNet's weights, trained
further on photographs, stored in 8 bits. Their kernels are used as they are. The statistics of the batch norms are
measured anew on training crops, because 8 bits hold a small variance as 0.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facepipe.classifier.config.recipe import Recipe, Stage
from facepipe.classifier.config.schema import find_schema, read_schema
from facepipe.classifier.data.loader import CropSource, exact_batches
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.inference.classifier import prepare
from facepipe.classifier.training.keras_backend import import_keras
from facepipe.core.errors import FacepipeError
from facepipe.core.files import write_whole

ENTRY = re.compile(
    r'\{name:"(?P<name>[^"]+)",shape:\[(?P<shape>[\d,e]*)\],dtype:"float32",'
    r"quantization:\{min:(?P<low>[-\d.e]+),scale:(?P<scale>[-\d.e]+),dtype:\"uint8\"\}\}"
)
"""One array in the list of a minified model; ``value = low + scale * byte``."""
SHARD = re.compile(r'"([A-Za-z0-9+/]{1000,}=*)"')
BATCHES, BATCH = 60, 32


def read_model(folder: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a model in the minified JavaScript of nsfwjs, by the names that they have there.

    Raises:
        FacepipeError: the folder holds no such model, or its bytes do not fit the list of arrays.
    """
    listed, shards = folder / "model.min.js", sorted(folder.glob("group1-shard*.min.js"))
    if not (listed.is_file() and shards):
        raise FacepipeError(f"{folder}: no model.min.js with its group1-shard*.min.js")
    found = [SHARD.search(path.read_text(encoding="utf-8")) for path in shards]
    data = b"".join(base64.b64decode(each[1]) for each in found if each)
    arrays: dict[str, np.ndarray] = {}
    place = 0
    for entry in ENTRY.finditer(listed.read_text(encoding="utf-8")):
        shape = tuple(int(float(side)) for side in entry["shape"].split(",") if side)
        count = int(np.prod(shape))
        stored = np.frombuffer(data[place : place + count], np.uint8)
        if len(stored) < count:
            break
        arrays[entry["name"]] = (float(entry["low"]) + float(entry["scale"]) * stored).astype(np.float32).reshape(shape)
        place += count
    if not arrays or place != len(data):
        raise FacepipeError(f"{folder}: {len(data)} bytes of weights, but {place} are listed")
    return arrays


def our_name(name: str) -> str:
    """The name that our backbones give an array: numbers from 0, and no ``depthwise_`` before ``kernel``."""
    layer, _, variable = name.rpartition("/")
    if numbered := re.fullmatch(r"(conv2d|batch_normalization)_(\d+)", layer):
        number = int(numbered[2]) - 1
        layer = f"{numbered[1]}_{number}" if number else numbered[1]
    return f"{layer}/{variable.removeprefix('depthwise_')}"


def main(
    model: Annotated[Path, typer.Argument(help="Folder of a model in the package.")],
    backbone: Annotated[str, typer.Argument(help="mobilenetv2 or inceptionv3.")],
    data: Annotated[Path, typer.Option(help="Label file of crops, to measure the batch norms on.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the starts.")] = Path("runs") / "starts",
    size: Annotated[int, typer.Option(min=32, help="Side of the crops that the norms are measured on.")] = 128,
) -> None:
    """Write ``OUT/BACKBONE/weights.npz``."""
    arrays = {our_name(name): array for name, array in read_model(model).items()}
    import_keras()
    from facepipe.classifier.models.backbones import find_backbone
    from facepipe.classifier.models.multitask import build_model, get_weights
    from facepipe.classifier.models.pretrained import fit_start
    from facepipe.classifier.training.checkpoint import write_arrays
    from facepipe.classifier.training.validation import recalibrate

    attributes = read_schema(find_schema("gender"))
    stage = Stage(name="all", size=size, epochs=1, learning_rate=1e-3)
    network = build_model(attributes, Recipe(backbone=backbone, stages=(stage,)), size)
    found = find_backbone(backbone)
    if fresh := [layer for layer in fit_start(network, arrays) if found.block(layer)]:
        raise FacepipeError(f"{model}: no weights for {len(fresh)} layers of {backbone} ({', '.join(fresh[:4])})")
    table = read_faces(data, attributes).split("train")
    rows = np.random.default_rng(0).permutation(len(table))[: BATCHES * BATCH]
    crops = exact_batches(CropSource(table, size, (114, 114, 114)), BATCH, rows)
    recalibrate(network, (prepare(each.images, found.input_spec(size)) for each in crops))
    kept = {name: array for name, array in get_weights(network).items() if found.block(name.rpartition("/")[0])}
    (out / backbone).mkdir(parents=True, exist_ok=True)
    write_arrays(out / backbone / "weights.npz", kept)
    write_whole(out / backbone / "start.txt", b"ImageNet, by way of nsfwjs\n")
    print(f"{out / backbone / 'weights.npz'}: {len(kept)} arrays")


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
