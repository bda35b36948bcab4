ARG BASE
FROM --platform=linux/amd64 ${BASE}
MAINTAINER nobody
LABEL one="a b" two=c
EXPOSE 80 443/udp
USER 1000:1000
WORKDIR /work
VOLUME ["/data"]
STOPSIGNAL SIGTERM
SHELL ["/bin/sh", "-ec"]
HEALTHCHECK --interval=5s --retries=2 CMD true
ENTRYPOINT ["/bin/sh"]
CMD ["-c", "true"]
COPY package.json .
