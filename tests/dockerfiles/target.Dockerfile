FROM scratch AS base
COPY package.json /
FROM base AS wanted
COPY docs/readme.md /
FROM base AS later
COPY unread/other.txt /
