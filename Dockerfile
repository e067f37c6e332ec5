# Three images from one file; `make images` builds them, deployment/images/README.md says more.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS python
# hadolint ignore=DL3008
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc /usr/share/man \
 && groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp --shell /bin/bash app
# The root may be read-only: whatever a library wants to cache goes to /tmp.
ENV PATH=/opt/drl/bin:$PATH VIRTUAL_ENV=/opt/drl HOME=/tmp XDG_CACHE_HOME=/tmp/.cache XDG_CONFIG_HOME=/tmp/.config \
    MPLCONFIGDIR=/tmp/.config/matplotlib PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true GX_ANALYTICS_ENABLED=false
WORKDIR /app

FROM python AS uv
ARG UV_VERSION=0.13.9
# hadolint ignore=DL3008
RUN --mount=type=secret,id=packages,target=/run/secrets/packages \
    apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && if [ -f /run/secrets/packages ]; then . /run/secrets/packages; fi \
 && python3 -m venv /uv && /uv/bin/pip install --no-cache-dir -q "uv==${UV_VERSION}"
# buildah mounts a stage that comes whole from its cache without what the stage made: a new BUILD keeps it from that.
ARG BUILD=
RUN echo "build ${BUILD}"

# Each image: the packages of one extra, in the lock's versions and nothing besides, then the code and its commit
# (`stamp` is a build context that the build script makes, no stage).
FROM python AS executor
ARG TORCH=cpu
COPY pyproject.toml requirements.lock deployment/images/install /opt/build/
RUN --mount=type=secret,id=packages,target=/run/secrets/packages \
    --mount=type=bind,from=uv,source=/uv,target=/uv \
    TORCH=${TORCH} /opt/build/install packages executor
COPY . .
# hadolint ignore=DL3022
COPY --from=stamp . .
RUN --mount=type=secret,id=packages,target=/run/secrets/packages \
    --mount=type=bind,from=uv,source=/uv,target=/uv \
    /opt/build/install code
USER 10001:10001
ENTRYPOINT ["drl"]

FROM python AS airflow
COPY pyproject.toml requirements.lock deployment/images/install /opt/build/
RUN --mount=type=secret,id=packages,target=/run/secrets/packages \
    --mount=type=bind,from=uv,source=/uv,target=/uv \
    /opt/build/install packages airflow
COPY . .
# hadolint ignore=DL3022
COPY --from=stamp . .
RUN --mount=type=secret,id=packages,target=/run/secrets/packages \
    --mount=type=bind,from=uv,source=/uv,target=/uv \
    /opt/build/install code
USER 10001:10001
CMD ["airflow", "--help"]

FROM python AS api
COPY pyproject.toml requirements.lock deployment/images/install /opt/build/
RUN --mount=type=secret,id=packages,target=/run/secrets/packages \
    --mount=type=bind,from=uv,source=/uv,target=/uv \
    /opt/build/install packages serving
COPY . .
# hadolint ignore=DL3022
COPY --from=stamp . .
RUN --mount=type=secret,id=packages,target=/run/secrets/packages \
    --mount=type=bind,from=uv,source=/uv,target=/uv \
    /opt/build/install code
USER 10001:10001
ENTRYPOINT ["drl-api"]
