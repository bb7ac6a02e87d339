"""The implementation of ``facepipe detect``: the run over pictures and videos, and its screen output."""
