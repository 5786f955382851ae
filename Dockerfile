# The worker and the server in one image; the command decides which.
# Without a package index, put wheels into .wheelhouse/ and give PIP_ARGS="--no-index --find-links
# /wheelhouse" (tests/containers/README.md).
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
ARG PIP_ARGS=""
# The glob lets the folder be absent.
COPY constraints.txt .wheelhous[e] /wheelhouse/
RUN python3 -m venv /opt/scoreboard
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY scoreboard scoreboard
COPY adapters adapters
COPY scoreboard_cli scoreboard_cli
COPY server server
COPY worker worker
COPY stack stack
RUN /opt/scoreboard/bin/pip install --no-cache-dir --disable-pip-version-check \
    ${PIP_ARGS} -c /wheelhouse/constraints.txt .

FROM ${BASE}
COPY --from=build /opt/scoreboard /opt/scoreboard
ENV PATH=/opt/scoreboard/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 3000
# Sanic and the worker both drain on SIGTERM.
STOPSIGNAL SIGTERM
CMD ["python3", "-m", "stack.api"]
