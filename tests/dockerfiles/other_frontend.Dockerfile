# syntax=registry.example/other-frontend:1
FROM scratch
COPY package.json /
