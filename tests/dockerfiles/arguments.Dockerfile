ARG BASE
ARG WHERE=docs
FROM ${BASE}
ARG WHERE
ARG NAME=guide
ARG FILE=${NAME}.txt OTHER="readme.md"
COPY ${WHERE}/$FILE /by-argument
COPY $WHERE/${OTHER} /other
ARG EMPTY=
COPY ${EMPTY:-package.json} /default
