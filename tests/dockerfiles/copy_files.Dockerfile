FROM scratch
COPY package.json /
COPY package.json docs/readme.md /several/
