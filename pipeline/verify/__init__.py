"""``facepipe verify``: results made again with the models that they name, and compared."""
