ARG BASE
FROM ${BASE}
COPY package.json /
RUN --mount=type=tmpfs,target=/t touch /t/x
