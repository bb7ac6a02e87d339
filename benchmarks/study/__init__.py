"""The paired study of ``speed_study.py``: the pipeline against its bound, the notebooks' method, and itself."""
