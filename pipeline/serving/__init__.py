"""The pipeline as an HTTP server, batching pictures across clients (extra ``serve``)."""
