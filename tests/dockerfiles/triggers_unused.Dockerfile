FROM scratch
COPY package.json /
ONBUILD COPY unread /unread
