# One file, three programs: docker build --target agent|gateway|central .
# Settings and data are mounted at /data; each program reads /data/{program}.toml.

FROM node:20-bookworm-slim AS web
WORKDIR /src/central/web
COPY central/web/package.json central/web/package-lock.json central/web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY central/web ./
RUN npm run build

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /src
COPY . .
COPY --from=web /src/central/web/dist central/web/dist
RUN python -m pip install --no-cache-dir -c constraints.txt hatchling \
    && python -m hatchling build -t wheel -d /wheel

FROM python:3.11-slim-bookworm AS base
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin mingjing \
    && install -d -o mingjing -g mingjing -m 0700 /data
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY constraints.txt /tmp/
COPY --from=wheel /wheel/ /tmp/wheel/
WORKDIR /data
VOLUME /data

FROM base AS agent
RUN wheel=$(ls /tmp/wheel/*.whl) && python -m pip install --no-cache-dir -c /tmp/constraints.txt "$wheel[agent]"
USER mingjing
# The agent serves nothing; its health is what it tells the broker. Here: its process runs.
HEALTHCHECK --interval=30s --timeout=5s CMD ["python", "-c", "import os; os.kill(1, 0)"]
CMD ["python", "-m", "edge_agent", "--config", "/data/agent.toml"]

FROM base AS gateway
RUN wheel=$(ls /tmp/wheel/*.whl) && python -m pip install --no-cache-dir -c /tmp/constraints.txt "$wheel[gateway]"
USER mingjing
EXPOSE 8460
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "\
import ssl, urllib.request; \
c = ssl.create_default_context(cafile='/data/ca/ca.pem'); \
urllib.request.urlopen('https://localhost:8460/healthz', context=c, timeout=4)"]
CMD ["python", "-m", "gateway", "--config", "/data/gateway.toml"]

FROM base AS central
RUN wheel=$(ls /tmp/wheel/*.whl) && python -m pip install --no-cache-dir -c /tmp/constraints.txt "$wheel[central]"
USER mingjing
EXPOSE 8440
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "\
import urllib.request; urllib.request.urlopen('http://localhost:8440/healthz', timeout=4)"]
CMD ["python", "-m", "central", "serve", "--config", "/data/central.toml"]
