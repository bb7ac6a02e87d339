# facepipe serve in a container: docker build -t facepipe . && docker run --rm -p 8000:8000 facepipe
# The released models are part of the package; nothing is fetched when the container runs.

FROM python:3.12-slim AS build
COPY . /source
RUN python -m venv /usr/local/facepipe \
    && /usr/local/facepipe/bin/pip install --no-cache-dir --disable-pip-version-check "/source[serve]"

FROM python:3.12-slim
# What opencv-python's wheel takes from the system; without versions, for Debian keeps only the newest of each.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin facepipe
COPY --from=build /usr/local/facepipe /usr/local/facepipe
ENV PATH=/usr/local/facepipe/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["facepipe", "serve", "--host", "0.0.0.0", "--port", "8000"]
