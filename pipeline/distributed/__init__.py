"""``facepipe detect --engine ray``: pictures of folders and buckets over the machines of a Ray cluster."""
