"""``facepipe verify``: reproduce results with the models they name, and compare."""
