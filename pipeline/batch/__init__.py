"""``facepipe detect`` behind its options: the run over pictures and videos, and what it shows meanwhile."""
