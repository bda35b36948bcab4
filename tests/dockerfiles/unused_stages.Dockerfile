FROM scratch AS unused
COPY unread/other.txt /
FROM scratch AS base
COPY package.json /
FROM base AS final
COPY docs/readme.md /
