"""The pipeline as an HTTP server: uploads in, results out, many clients' pictures in one batch (extra ``serve``)."""
