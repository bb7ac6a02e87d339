"""The command ``facepipe``: its commands are added to the app in the order in which its help lists them."""

from __future__ import annotations

from . import data, train_classifier, weights
from ._app import app, main
from .benchmark import benchmark
from .compare import compare
from .detect import detect
from .doctor import doctor, schema
from .evaluate import evaluate
from .evaluate_classifier import evaluate_classifier
from .evaluate_detector import evaluate_detector
from .serve import serve
from .train_detector import export_detector, train_detector
from .verify import verify

__all__ = ["app", "main"]

app.command()(detect)
app.add_typer(weights.app, name="weights")
app.add_typer(data.app, name="data")
app.command()(train_detector)
app.command()(export_detector)
app.command()(evaluate)
app.command()(doctor)
app.command()(schema)
app.command()(evaluate_detector)
app.command()(train_classifier.train_classifier)
app.command()(evaluate_classifier)
app.command()(compare)
app.add_typer(train_classifier.app, name="recipes")
app.command()(benchmark)
app.command()(serve)
app.command()(verify)
