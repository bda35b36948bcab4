ARG BASE
FROM ${BASE}
RUN --mount=target=/mnt cp /mnt/package.json /
