"""The paired study of ``speed_study.py``: the pipeline beside its bound, the way of the notebooks, and itself."""
