FROM scratch
COPY --parents docs/guide.txt services/*/package.json /parents/
COPY --parents services/./api/src /pivot/
