FROM scratch AS base
ONBUILD COPY docs/guide.txt /
FROM base
COPY package.json /
