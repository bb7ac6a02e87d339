"""``facepipe detect --engine ray``: process pictures in folders and buckets on a Ray cluster."""
