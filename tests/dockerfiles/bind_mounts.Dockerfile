ARG BASE
FROM scratch AS files
COPY app/lib /lib
FROM ${BASE}
RUN --mount=type=bind,source=package.json,target=/mnt/package.json cp /mnt/package.json /copied
RUN --mount=source=docs,dst=/mnt/docs cat /mnt/docs/*.md > /docs
RUN --mount=type=bind,from=files,target=/mnt/files cp -r /mnt/files/lib /lib2
RUN --mount=type=cache,target=/cache --mount=type=secret,id=none,required=false echo hello > /cache/x
