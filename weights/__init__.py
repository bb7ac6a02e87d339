"""Released models: manifests, finding and verifying versions, and inference sessions.

Of the packages of facepipe, it imports only ``core``.
"""
