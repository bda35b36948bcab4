FROM scratch AS for-amd64
COPY bin/amd64/tool /
FROM scratch AS for-arm64
COPY bin/arm64/tool /
FROM for-${TARGETARCH}
COPY package.json /
