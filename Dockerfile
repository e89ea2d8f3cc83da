# docker build --target cpu  -t hitfinder:cpu .
# docker build --target cuda -t hitfinder:cuda .     (run it with --gpus all)
#
# Both hold the same program; cuda adds NVIDIA's libraries (several GB). Driver libraries come from
# the host, by the NVIDIA container toolkit.

ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/hitfinder
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY hitfinder hitfinder
COPY models models
RUN /opt/hitfinder/bin/pip install --only-binary :all: -c requirements.lock '.[monitor]'

FROM build AS build-cuda
RUN /opt/hitfinder/bin/pip install --only-binary :all: -c requirements.lock '.[cuda,monitor]'

FROM python:${PYTHON}-slim-bookworm AS runtime
ENV PATH=/opt/hitfinder/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
RUN useradd --system --user-group --uid 999 --no-create-home --home-dir /var/lib/hitfinder hitfinder \
    && install -d -o hitfinder -g hitfinder /var/lib/hitfinder \
    && install -d /etc/hitfinder
USER hitfinder
WORKDIR /var/lib/hitfinder
VOLUME /var/lib/hitfinder
# Kept frames, verdicts, metrics: as in deploy/hitfinder.toml.
EXPOSE 5557 5558 9110
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9110/healthz', timeout=3)"]
ENTRYPOINT ["hitfinder"]
CMD ["serve", "/etc/hitfinder/hitfinder.toml"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/hitfinder /opt/hitfinder

# The last stage is what a build without --target makes.
FROM runtime AS cpu
COPY --from=build /opt/hitfinder /opt/hitfinder
