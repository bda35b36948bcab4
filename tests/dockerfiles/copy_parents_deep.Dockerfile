FROM scratch
COPY --parents services/**/package.json /deep/
