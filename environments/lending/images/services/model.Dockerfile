# model-server: the model is trained here from the `loanapp` table; only its numbers reach the final image.
# MODEL_VERSION chooses the recipe (lending/training.py).
FROM debian:bookworm-slim AS training
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-sklearn \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /training
COPY loanapp.csv.bz2 .
COPY lending/__init__.py lending/scoring.py lending/training.py lending/
ARG MODEL_VERSION=1.4.0
RUN python3 -m lending.training "$MODEL_VERSION" loanapp.csv.bz2 model.json

FROM debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      python3-minimal python3-aiohttp python3-asyncpg python3-hiredis python3-redis python3-uvloop \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home lending
WORKDIR /opt/lending
COPY lending lending
RUN python3 -m compileall -q lending
COPY --from=training /training/model.json model.json
USER lending
EXPOSE 8080
CMD ["python3", "-m", "lending.model_server"]
